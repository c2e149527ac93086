"""Engines: carry out a list of runs, in this process, in worker processes or on a cluster; the store is the only truth.

A run whose record is in the store is not repeated, a run whose parent is not finished waits for it, and a failed run is
noted and the rest goes on. Several sweeps may work on one store, on several machines (:mod:`supertickets.runs.locks`).
Independent runs go side by side, one single-threaded worker per core: small models gain nothing from a second thread.
"""

from collections.abc import Hashable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from supertickets.engines.cluster import ray_pool
from supertickets.engines.execution import execute
from supertickets.engines.processes import process_pool
from supertickets.engines.progress import Progress
from supertickets.engines.resources import default_workers
from supertickets.engines.scheduling import Outcome, Pool, orphaned, scheduled
from supertickets.errors import SuperticketsError
from supertickets.options import RUNS_PER_GPU
from supertickets.runs import RunStore, Spec, tidy

ENGINES = ("local", "processes", "ray")
"""In this process, one run after another; in worker processes (the default); on a Ray cluster."""


@dataclass(frozen=True)
class Engine:
    """What carries runs out: one of :data:`ENGINES`, with how many runs a GPU has at a time and a cluster's address.

    ``address`` is that of a Ray cluster (:func:`supertickets.engines.cluster.ray_pool`). Raises SuperticketsError for
    an unknown engine, or an address that it cannot have.
    """

    name: str = "processes"
    runs_per_gpu: int = RUNS_PER_GPU
    address: str = ""

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise SuperticketsError(f"Unknown engine {self.name!r}; known: {', '.join(ENGINES)}.")
        if self.address and self.name != "ray":
            raise SuperticketsError(f"The engine {self.name} has no address ({self.address}): say --engine ray too.")


PROCESSES = Engine()

MAX_UNSAVED = 3
"""After so many runs in a row that the store could not take, a sweep stops: what is not saved is trained in vain."""


@dataclass
class Summary:
    """What :func:`run_all` did: run ids carried out and found in the store, errors by id of those that failed."""

    finished: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def raise_if_failed(self) -> None:
        """One sentence about the failed runs, if any."""
        if self.failed:
            run_id, error = next(iter(self.failed.items()))
            total = len(self.failed) + len(self.finished) + len(self.found)
            raise SuperticketsError(f"{len(self.failed)} of {total} runs failed; the first, {run_id}: {error}")

    def __str__(self) -> str:
        text = f"{len(self.finished)} runs carried out, {len(self.found)} found in the store"
        return text + (f", {len(self.failed)} failed" if self.failed else "")


def run_all(
    specs: Iterable[Spec],
    store: RunStore,
    workers: int | None = None,
    engine: Engine = PROCESSES,
    *,
    retry_failed: bool = False,
    models: str | Path | None = None,
    description: str = "runs",
    progress: bool | Progress = True,
) -> Summary:
    """Sees to it that every spec's record is in the store, and says what was done.

    ``workers`` of the ``engine`` (default: one per core, or ``runs_per_gpu`` per GPU) work side by side; one process
    works in this one. The numbers are the same with any of them. Runs that failed earlier are left alone unless
    ``retry_failed``. With ``models``, the model of every run carried out is saved in a folder named by its id there.
    ``progress`` may be that of a larger undertaking.

    Raises SuperticketsError if a spec needs the scores of a run that is neither in the list nor in the store, for an
    engine that cannot be had, and after :data:`MAX_UNSAVED` runs that the store could not take.
    """
    tidy(store)
    todo, summary = _plan(list(specs), store, retry_failed)
    if not todo:
        return summary
    store.require_writable()
    folder = None if models is None else str(models)
    if engine.name == "ray":
        pool = ray_pool(store, folder, workers, engine.runs_per_gpu, engine.address)
    else:
        n = min(default_workers(engine.runs_per_gpu) if workers is None else workers, len(todo))
        pool = process_pool(store, folder, n) if engine.name == "processes" and n > 1 else _local(store, folder)
    bar = progress if isinstance(progress, Progress) else Progress(description, progress)
    bar.expect(todo.values())
    outcomes = scheduled(todo, pool, lambda running: bar.look(running, pool.size(), store.progress), store.fail)
    unsaved = 0
    try:
        with closing(outcomes):  # at once, so that after an interrupt no worker goes on
            for run_id, outcome, seconds in outcomes:
                if outcome.kind == "failed":
                    summary.failed[run_id] = outcome.error
                else:
                    (summary.finished if outcome.kind == "done" else summary.found).append(run_id)
                bar.over(todo[run_id], outcome.kind, seconds, outcome.error)
                unsaved = unsaved + 1 if outcome.unsaved else 0
                if unsaved == MAX_UNSAVED:
                    raise SuperticketsError(
                        f"The sweep stopped after {len(summary.finished)} finished runs, since the run store "
                        f"{store.path} could not take {unsaved} in a row; free some space and carry out the failed "
                        f"runs again (--retry-failed). The last said: {outcome.error}"
                    )
    finally:
        if bar is not progress:
            bar.close()
    tidy(store)
    return summary


def _plan(specs: list[Spec], store: RunStore, retry_failed: bool) -> tuple[dict[str, Spec], Summary]:
    by_id = {spec.id: spec for spec in specs}
    summary = Summary()
    failures = {} if retry_failed else store.failures()
    todo: dict[str, Spec] = {}
    there = {run_id for run_id in by_id if run_id in store}
    # Scores are read from the arrays, which are looked into only here.
    needed = {parent for run_id, spec in by_id.items() if run_id not in there for parent in spec.parents}
    there -= {parent for parent in needed & there if store.get(parent) is None}
    for run_id, spec in by_id.items():
        if run_id in there:
            summary.found.append(run_id)
        elif run_id in failures:
            summary.failed[run_id] = f"{failures[run_id]} (in an earlier sweep; ask for a retry)"
        else:
            todo[run_id] = spec
    for run_id, spec in list(todo.items()):
        for parent in spec.parents:
            if parent not in by_id and parent not in store:
                raise SuperticketsError(
                    f"Run {run_id} needs the scores of run {parent}, which is neither planned nor in {store.path}."
                )
        if orphan := orphaned(spec, summary.failed):  # not a failure of its own: it is done as soon as its parent is
            summary.failed[run_id] = orphan
            del todo[run_id]
    return todo, summary


def _local(store: RunStore, models: str | None) -> Pool:
    """This process as a pool of one worker."""

    def finish(handles: Sequence[Hashable], _seconds: float) -> list[tuple[Hashable, Outcome]]:
        return [(spec, execute(cast(Spec, spec), store.path, models)) for spec in handles]

    return Pool(lambda: 1, lambda spec: spec, finish, lambda _handles: None)
