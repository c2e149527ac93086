"""Tickets as values: importance scores, which units they keep, and how they are chosen."""

from typing import TYPE_CHECKING

from supertickets.rooms import handed_on

if TYPE_CHECKING:
    from supertickets.tickets.selection import (
        KINDS,
        LEVELS,
        losing_ticket,
        pruned_counts,
        random_ticket,
        winning_ticket,
    )
    from supertickets.tickets.shared import SharedUnits, check_tickets, shared_units
    from supertickets.tickets.ticket import (
        ESTIMATORS,
        EncoderShape,
        Scores,
        Ticket,
        full_ticket,
        load_authors_ticket,
        misfit,
    )
else:
    __getattr__, __dir__ = handed_on(__name__)
