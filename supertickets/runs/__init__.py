"""Runs as data: specs and their ids, records, the store, its locks and logs."""

from typing import TYPE_CHECKING

from supertickets.rooms import handed_on

if TYPE_CHECKING:
    from supertickets.runs.choices import CHOICES, choices_of
    from supertickets.runs.frames import missing_sentence, paired_scores, scores_in, super_ticket_pairs, super_tickets
    from supertickets.runs.locks import EXPIRY, alive, claimed, tidy
    from supertickets.runs.log import RunLog
    from supertickets.runs.packs import pack, told
    from supertickets.runs.provenance import (
        code_fingerprint,
        commit_id,
        data_fingerprint,
        device_name,
        library_versions,
        setting,
    )
    from supertickets.runs.run import Hyper, Record, RunSpec, TicketRule, mean_report_score
    from supertickets.runs.spec import (
        AdaptationSpec,
        SharingSpec,
        Spec,
        at_rate,
        data_of,
        in_words,
        kind_of,
        placed,
        readable,
        spec_from_json,
        task_of,
    )
    from supertickets.runs.store import RunStore
else:
    __getattr__, __dir__ = handed_on(__name__)
