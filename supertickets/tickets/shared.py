"""Who uses which units when tasks share an encoder (Figure 2): union, intersection, exclusive parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from supertickets.errors import SuperticketsError
from supertickets.tickets.ticket import EncoderShape, Ticket, misfit


@dataclass(frozen=True)
class SharedUnits:
    """Who uses which heads and FFNs (Figure 2), all as tickets.

    ``union`` is what the shared model stores, ``intersection`` what every task uses, ``exclusive[name]`` what only
    that task uses. Names are in alphabetical order.
    """

    tickets: dict[str, Ticket]
    union: Ticket
    intersection: Ticket
    exclusive: dict[str, Ticket]

    def stored(self, shape: EncoderShape) -> float:
        """Share of the encoder's parameters that the shared model really stores, in (0, 1]."""
        return self.union.weights_remaining(shape)

    def average_compression(self, shape: EncoderShape) -> float:
        """The paper's "average compression" (Table 3): the mean over tasks of the share each task's ticket keeps.

        No stored model has this size: the shared one holds the union (audit D16).
        """
        return float(np.mean([ticket.weights_remaining(shape) for ticket in self.tickets.values()]))


def shared_units(tickets: Mapping[str, Ticket]) -> SharedUnits:
    """The union, the intersection and the exclusive parts of the tasks' tickets.

    Raises SuperticketsError if there is no ticket, one is empty, or they are not of one shape.

    >>> a = Ticket(heads=[[True, True, False, False]], ffns=[True])
    >>> b = Ticket(heads=[[False, True, True, False]], ffns=[False])
    >>> found = shared_units({"a": a, "b": b})
    >>> found.union.kept_heads, found.intersection.kept_heads, found.exclusive["a"].heads.tolist()
    (3, 1, [[True, False, False, False]])
    """
    named = dict(sorted(tickets.items()))
    check_tickets(list(named), named)
    exclusive = {}
    for name, ticket in named.items():
        others = [other for its, other in named.items() if its != name]
        exclusive[name] = reduce(Ticket.difference, others, ticket)
    values = list(named.values())
    return SharedUnits(named, reduce(Ticket.union, values), reduce(Ticket.intersection, values), exclusive)


def check_tickets(names: Sequence[str], tickets: Mapping[str, Ticket] | None, shape: tuple[int, int] | None = None):
    """Raises SuperticketsError unless the names are distinct and each has a ticket of ``shape`` that is not empty.

    Without ``shape`` the tickets must agree among themselves; without ``tickets`` only the names are checked.
    """
    if not names:
        raise SuperticketsError("There is no task to share an encoder among; give at least one.")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise SuperticketsError(f"Two tasks are called {twice[0]}; tasks go by name, so give each its own.")
    if tickets is None:
        return
    known = ", ".join(sorted(names))
    for name in sorted(set(tickets) - set(names)):
        raise SuperticketsError(f"There is a ticket for {name}, which is none of the tasks ({known}); leave it out.")
    for name in sorted(set(names) - set(tickets)):
        raise SuperticketsError(f"Task {name} has no ticket; give it one (full_ticket keeps everything).")
    for name, ticket in sorted(tickets.items()):
        shape = shape or ticket.shape
        if ticket.shape != shape:
            raise SuperticketsError(f"Task {name}: {misfit(ticket.shape, shape)}")
        if not ticket.kept_heads and not ticket.kept_ffns:
            raise SuperticketsError(f"The ticket of task {name} is empty: it keeps no head and no FFN; use another.")
