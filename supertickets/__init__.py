"""Super tickets in pre-trained language models (Liang et al., ACL 2021): the names meant for use.

Everything is imported on first use, so that ``import supertickets`` is quick and touches nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supertickets.rooms import handed_on

__version__ = "0.1.0"

if TYPE_CHECKING:
    from supertickets.errors import SuperticketsError as SuperticketsError
    from supertickets.models import compact as compact
    from supertickets.models import importance_scores as importance_scores
    from supertickets.models import load_compacted as load_compacted
    from supertickets.models import load_encoder as load_encoder
    from supertickets.models import load_tokenizer as load_tokenizer
    from supertickets.models import masked as masked
    from supertickets.models import save_compacted as save_compacted
    from supertickets.models import shape_of as shape_of
    from supertickets.runs import Hyper as Hyper
    from supertickets.runs import RunSpec as RunSpec
    from supertickets.runs import RunStore as RunStore
    from supertickets.runs import TicketRule as TicketRule
    from supertickets.statistics import bias_variance as bias_variance
    from supertickets.studies import find as find
    from supertickets.studies import full_run as full_run
    from supertickets.studies import predict_texts as predict_texts
    from supertickets.studies import rewound as rewound
    from supertickets.tasks import data_ref as data_ref
    from supertickets.tasks import load_task as load_task
    from supertickets.tickets import Scores as Scores
    from supertickets.tickets import Ticket as Ticket
    from supertickets.tickets import full_ticket as full_ticket
    from supertickets.tickets import losing_ticket as losing_ticket
    from supertickets.tickets import random_ticket as random_ticket
    from supertickets.tickets import winning_ticket as winning_ticket
    from supertickets.training import encode as encode
    from supertickets.training import eval_batches as eval_batches
    from supertickets.training import fine_tune as fine_tune
    from supertickets.training import fine_tuned as fine_tuned
    from supertickets.training import predict as predict
else:
    __getattr__, __dir__ = handed_on(__name__)
    __all__ = list(__dir__())
