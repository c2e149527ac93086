"""Scheduling: which run is next and what becomes of it, whoever carries the runs out.

A run starts when its parents are in the store, those that others wait for first. A run that another sweep has is asked
for again later; one whose worker was killed is tried again alone, where it cannot take others along, and is given up
when that kills its worker too.
"""

import time
from collections import deque
from collections.abc import Callable, Container, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from supertickets.runs import Spec

MAX_WORKER_DEATHS = 2
"""A run during which its worker died this often, with no other run under way, is given up as failed."""

POLL = 1.0
"""Seconds after which a run that another sweep is carrying out is looked at again."""


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


def orphaned(spec: Spec, failed: Container[str]) -> str:
    """Why a run cannot be carried out although nothing is wrong with it; "" if it can."""
    return next((f"its parent run {parent} failed" for parent in spec.parents if parent in failed), "")


def scheduled(
    todo: Mapping[str, Spec],
    pool: Pool,
    on_wake: Callable[[Iterable[str]], None],
    on_given_up: Callable[[Spec, str], None],
) -> Generator[tuple[str, Outcome, float], None, None]:
    """Has a pool carry out runs, and yields each one's id, outcome and the seconds it took, when it is over.

    Outcomes are "done", "found" or "failed". ``on_wake`` is called with the ids of the runs under way about once a
    second, ``on_given_up`` with a run that kills its workers and the reason. The pool is closed in the end, however
    that comes about.
    """
    children: dict[str, list[str]] = {}
    waits_for = {run_id: {parent for parent in spec.parents if parent in todo} for run_id, spec in todo.items()}
    for run_id, parents in waits_for.items():
        for parent in parents:
            children.setdefault(parent, []).append(run_id)
    free = [run_id for run_id, parents in waits_for.items() if not parents]
    ready = deque(sorted(free, key=lambda run_id: run_id not in children))  # stable: else in the caller's order
    suspects: deque[str] = deque()  # runs during which a worker died
    later: deque[tuple[float, str]] = deque()  # runs that another sweep has, and when to ask again
    deaths: dict[str, int] = {}
    over: set[str] = set()
    running: dict[Hashable, tuple[str, float]] = {}

    def start(run_id: str) -> None:
        running[pool.submit(todo[run_id])] = run_id, time.monotonic()

    def settle(run_id: str, outcome: Outcome, seconds: float) -> Iterator[tuple[str, Outcome, float]]:
        over.add(run_id)
        yield run_id, outcome, seconds
        for child in children.get(run_id, ()):
            waits_for[child].discard(run_id)
            if outcome.kind == "failed" and child not in over:
                yield from settle(child, Outcome("failed", orphaned(todo[child], [run_id])), 0.0)
            elif not waits_for[child] and child not in over:
                (ready.appendleft if child in children else ready.append)(child)

    try:
        while len(over) < len(todo):
            while later and later[0][0] <= time.monotonic():
                run_id = later.popleft()[1]
                (suspects if run_id in deaths else ready).append(run_id)
            alone = any(run_id in deaths for run_id, _ in running.values())
            while ready and not alone and len(running) < pool.size():
                start(ready.popleft())
            if suspects and not ready and not running:
                start(suspects.popleft())
            if not running:  # all that is left is with other sweeps, or the workers are gone for now
                time.sleep(POLL / 4)
            alone = len(running) == 1
            for handle, outcome in pool.wait(list(running), POLL) if running else ():
                run_id, since = running.pop(handle)
                seconds = time.monotonic() - since
                if outcome.kind == "busy":
                    # Many are asked for less often, so that asking never fills the time.
                    later.append((time.monotonic() + POLL * (1 + len(later) / 50), run_id))
                elif outcome.kind == "lost":
                    (suspects.append if run_id in deaths else ready.appendleft)(run_id)
                elif outcome.kind == "died":
                    deaths[run_id] = deaths.get(run_id, 0) + alone  # in company it may be another's fault
                    if deaths[run_id] < MAX_WORKER_DEATHS:
                        suspects.append(run_id)
                        continue
                    error = "its worker process was killed twice (out of memory?); free memory or use fewer workers"
                    on_given_up(todo[run_id], error)
                    yield from settle(run_id, Outcome("failed", error), seconds)
                else:
                    yield from settle(run_id, outcome, seconds)
            on_wake([run_id for run_id, _ in running.values()])
    finally:
        pool.close(list(running))
