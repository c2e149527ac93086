"""What an engine is to scheduling: workers of any kind as functions, and the outcome of a run."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from supertickets.runs import Spec


@dataclass(frozen=True)
class Outcome:
    """How a run went: "done", "found" in the store, "busy" elsewhere, or "failed" with its error.

    ``unsaved`` says that it failed because the store cannot be written.
    """

    kind: str
    error: str = ""
    unsaved: bool = False


@dataclass(frozen=True)
class Pool:
    """Workers of any kind, as functions.

    ``size()`` says how many runs may be under way now, ``submit(spec)`` starts one and returns its handle.
    ``wait(handles, seconds)`` returns the outcomes of those that ended, as soon as there is one or the time is over; of
    kind "died" if the worker was killed, "lost" if its whole machine went away. ``close(handles)`` lets go of the
    workers and ends these runs.
    """

    size: Callable[[], int]
    submit: Callable[[Spec], Hashable]
    wait: Callable[[Sequence[Hashable], float], list[tuple[Hashable, Outcome]]]
    close: Callable[[Sequence[Hashable]], None]
