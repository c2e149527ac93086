"""Engines: carry out a list of runs, in this process or in worker processes; the store is the only truth.

A run whose record is in the store is not repeated, a run whose parent is not finished waits for it, and a failed run is
noted and the rest goes on. Several sweeps may work on one store, on several machines (:mod:`supertickets.claims`).
Independent runs go side by side, one single-threaded worker per core: small models gain nothing from a second thread.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path

import torch
from loky import get_reusable_executor
from loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from supertickets.errors import SuperticketsError
from supertickets.execution import Outcome, execute
from supertickets.specs import Spec
from supertickets.store import RunStore

MAX_WORKER_DEATHS = 2
"""A run during which its worker died this often is given up as failed (it is probably what kills the worker)."""


POLL = 1.0
"""Seconds after which a run that another sweep is carrying out is looked at again."""


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
    retry_failed: bool = False,
    models: str | Path | None = None,
    description: str = "runs",
    progress: bool = True,
) -> Summary:
    """Sees to it that every spec's record is in the store, and says what was done.

    ``workers`` processes (default: one per core, or one in all if there is a GPU) work side by side; with 1 all happens
    in this process, with the same numbers. Runs that failed earlier are left alone unless ``retry_failed``.
    With ``models``, the model of every run carried out is saved in a folder named by its id there.

    Raises SuperticketsError if a spec needs the scores of a run that is neither in the list nor in the store.
    """
    todo, summary = _plan(list(specs), store, retry_failed)
    workers = min(default_workers() if workers is None else workers, max(1, len(todo)))
    if not todo:
        return summary
    with tqdm(total=len(todo), desc=description, unit="run", disable=not progress, smoothing=0.1) as bar:
        bar.bar_format = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total} [{elapsed}<{remaining}]"
        outcomes = _serially(todo, store, models) if workers == 1 else _in_processes(todo, store, workers, models, bar)
        for over, (run_id, outcome) in enumerate(outcomes, start=1):
            if outcome.kind == "failed":
                summary.failed[run_id] = outcome.error
                tqdm.write(f"run {run_id} failed: {outcome.error}")
            else:
                (summary.finished if outcome.kind == "done" else summary.found).append(run_id)
            bar.n = over
            bar.refresh()
    return summary


def default_workers() -> int:
    """One worker per core this process may use; one in all where a GPU does the work."""
    return 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))


def _plan(specs: list[Spec], store: RunStore, retry_failed: bool) -> tuple[dict[str, Spec], Summary]:
    by_id = {spec.id: spec for spec in specs}
    summary = Summary()
    failures = {} if retry_failed else store.failures()
    todo: dict[str, Spec] = {}
    for run_id, spec in by_id.items():
        if run_id in store:
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
        orphaned = _orphaned(spec, summary.failed)
        if orphaned:  # not a failure of its own: it is done as soon as its parent is
            summary.failed[run_id] = orphaned
            del todo[run_id]
    return todo, summary


def _orphaned(spec: Spec, failed: Container[str]) -> str:
    """Why a run cannot be carried out although nothing is wrong with it; "" if it can."""
    return next((f"its parent run {parent} failed" for parent in spec.parents if parent in failed), "")


def _serially(todo: dict[str, Spec], store: RunStore, models: str | Path | None) -> Iterator[tuple[str, Outcome]]:
    failed: dict[str, str] = {}
    settled: set[str] = set()
    # Parents come first; sorting is stable, so the caller's order holds otherwise.
    queue = deque(sorted(todo.items(), key=lambda item: bool(item[1].parents)))
    while queue:
        run_id, spec = queue.popleft()
        waits = any(parent in todo and parent not in settled for parent in spec.parents)
        orphaned = _orphaned(spec, failed)
        outcome = Outcome("failed", orphaned) if orphaned else Outcome("busy")
        if not (orphaned or waits):
            outcome = execute(spec, store.path, None if models is None else str(models))
        if outcome.kind == "busy":  # another sweep has it, or its parent
            queue.append((run_id, spec))
            time.sleep(POLL / len(queue))
            continue
        settled.add(run_id)
        if outcome.kind == "failed":
            failed[run_id] = outcome.error
        yield run_id, outcome


def _in_processes(
    todo: dict[str, Spec], store: RunStore, workers: int, models: str | Path | None, bar: tqdm
) -> Iterator[tuple[str, Outcome]]:
    waiting = dict(todo)
    running: dict[Future[Outcome], str] = {}
    deaths: dict[str, int] = {}
    busy: dict[str, float] = {}  # runs that another sweep has, and when to ask again
    over: set[str] = set()
    failed: set[str] = set()
    # Thread counts must be in the environment before a worker imports torch.
    environment = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    # loky takes growth by 300 MB for a leak and starts the worker anew, which costs seconds; a larger task is no leak.
    environment["LOKY_MAX_MEMORY_LEAK_SIZE"] = "1e10"
    try:
        while waiting or running:
            executor = get_reusable_executor(max_workers=workers, timeout=600, env=environment)
            free = {run_id: spec for run_id, spec in waiting.items() if busy.get(run_id, 0) <= time.monotonic()}
            for run_id in _next(free, todo, over | failed, deaths, running, workers):
                spec = waiting.pop(run_id)
                orphaned = _orphaned(spec, failed)
                if orphaned:
                    failed.add(run_id)
                    yield run_id, Outcome("failed", orphaned)
                    continue
                future = executor.submit(execute, spec, store.path, None if models is None else str(models))
                running[future] = run_id
            if not running:  # all that is left is with other sweeps
                time.sleep(POLL)
            for future in wait(running, timeout=1.0, return_when=FIRST_COMPLETED).done:
                run_id = running.pop(future)
                try:
                    outcome = future.result()
                except TerminatedWorkerError:
                    # The pool is gone with all its runs; whichever killed it will soon be found out by counting.
                    deaths[run_id] = deaths.get(run_id, 0) + 1
                    if deaths[run_id] < MAX_WORKER_DEATHS:
                        waiting[run_id] = todo[run_id]
                        continue
                    error = "its worker process was killed twice (out of memory?); free memory or use fewer workers"
                    store.fail(todo[run_id], error)
                    outcome = Outcome("failed", error)
                if outcome.kind == "busy":
                    waiting[run_id], busy[run_id] = todo[run_id], time.monotonic() + POLL
                    continue
                (failed if outcome.kind == "failed" else over).add(run_id)
                yield run_id, outcome
            bar.n = len(over) + len(failed) + sum(store.progress(run_id) for run_id in running.values())
            bar.refresh()
    except BaseException:
        get_reusable_executor(max_workers=workers, timeout=600, env=environment).shutdown(wait=False, kill_workers=True)
        raise


def _next(
    waiting: dict[str, Spec],
    todo: dict[str, Spec],
    settled: set[str],
    deaths: dict[str, int],
    running: dict[Future[Outcome], str],
    workers: int,
) -> list[str]:
    """The runs to start now: at most one per free worker, none whose parent is unsettled, needed parents first."""
    suspects = [run_id for run_id in waiting if run_id in deaths]
    if suspects:  # a worker's death ends every run in flight; alone, a run cannot take others along
        return [] if running else suspects[:1]
    parents = {parent for spec in waiting.values() for parent in spec.parents}
    ready = [
        run_id
        for run_id, spec in waiting.items()
        if all(parent not in todo or parent in settled for parent in spec.parents)
    ]
    return sorted(ready, key=lambda run_id: run_id not in parents)[: workers - len(running)]
