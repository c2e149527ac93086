"""Super tickets in pre-trained language models (Liang et al., ACL 2021): the names meant for use.

Everything is imported on first use, so that ``import supertickets`` is quick and touches nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supertickets.compaction import compact as compact
    from supertickets.compaction import load_compacted as load_compacted
    from supertickets.compaction import save_compacted as save_compacted
    from supertickets.decomposition import bias_variance as bias_variance
    from supertickets.encoders import load_encoder as load_encoder
    from supertickets.encoders import load_tokenizer as load_tokenizer
    from supertickets.encoders import shape_of as shape_of
    from supertickets.errors import SuperticketsError as SuperticketsError
    from supertickets.gates import masked as masked
    from supertickets.importance import importance_scores as importance_scores
    from supertickets.runs import Hyper as Hyper
    from supertickets.runs import RunSpec as RunSpec
    from supertickets.runs import TicketRule as TicketRule
    from supertickets.sources import data_ref as data_ref
    from supertickets.sources import load_task as load_task
    from supertickets.store import RunStore as RunStore
    from supertickets.tickets import Scores as Scores
    from supertickets.tickets import Ticket as Ticket
    from supertickets.tickets import full_ticket as full_ticket
    from supertickets.tickets import losing_ticket as losing_ticket
    from supertickets.tickets import random_ticket as random_ticket
    from supertickets.tickets import winning_ticket as winning_ticket
    from supertickets.training import fine_tune as fine_tune

__version__ = "0.1.0"

_HOMES = {
    "bias_variance": "decomposition",
    "compact": "compaction",
    "load_compacted": "compaction",
    "save_compacted": "compaction",
    "load_encoder": "encoders",
    "load_tokenizer": "encoders",
    "shape_of": "encoders",
    "SuperticketsError": "errors",
    "masked": "gates",
    "importance_scores": "importance",
    "Hyper": "runs",
    "RunSpec": "runs",
    "TicketRule": "runs",
    "data_ref": "sources",
    "load_task": "sources",
    "RunStore": "store",
    "Scores": "tickets",
    "Ticket": "tickets",
    "full_ticket": "tickets",
    "losing_ticket": "tickets",
    "random_ticket": "tickets",
    "winning_ticket": "tickets",
    "fine_tune": "training",
}

__all__ = [
    "Hyper",
    "RunSpec",
    "RunStore",
    "Scores",
    "SuperticketsError",
    "Ticket",
    "TicketRule",
    "bias_variance",
    "compact",
    "data_ref",
    "fine_tune",
    "full_ticket",
    "importance_scores",
    "load_compacted",
    "load_encoder",
    "load_task",
    "load_tokenizer",
    "losing_ticket",
    "masked",
    "random_ticket",
    "save_compacted",
    "shape_of",
    "winning_ticket",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'supertickets' has no attribute {name!r}")
    return getattr(import_module(f"supertickets.{_HOMES[name]}"), name)
