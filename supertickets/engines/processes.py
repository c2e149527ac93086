"""Worker processes of this machine, each with a GPU of its own where there are several."""

import os
import re
import threading
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import current_process
from typing import Any, cast

from loky import get_reusable_executor
from loky.process_executor import TerminatedWorkerError

from supertickets.engines.execution import AT_WORK, execute
from supertickets.engines.resources import SINGLE_THREADED, visible_gpus
from supertickets.engines.scheduling import Outcome, Pool
from supertickets.runs import RunStore, Spec

ORPHAN_POLL = 0.5
"""Seconds between two looks of a worker at whether its driver is still there."""


def process_pool(store: RunStore, models: str | None, workers: int) -> Pool:
    """Worker processes of this machine, which stay for the next sweep."""
    gpus = visible_gpus()
    # loky takes growth by 300 MB for a leak and starts the worker anew, which costs seconds; a larger task is no leak.
    environment = {**SINGLE_THREADED, "LOKY_MAX_MEMORY_LEAK_SIZE": "1e10"}
    settings: dict[str, Any] = {"max_workers": workers, "timeout": 600, "env": environment}
    settings |= {"initializer": _begin, "initargs": (os.getpid(), gpus)}

    def submit(spec: Spec) -> Hashable:
        try:
            return get_reusable_executor(**settings).submit(execute, spec, store.path, models)
        except BrokenProcessPool:  # a worker was killed just now; the next call makes a new pool
            return get_reusable_executor(**settings).submit(execute, spec, store.path, models)

    def finish(handles: Sequence[Hashable], seconds: float) -> list[tuple[Hashable, Outcome]]:
        done = wait(cast(Sequence[Future[Outcome]], handles), timeout=seconds, return_when=FIRST_COMPLETED).done
        return [(future, _result(future)) for future in done]

    def close(handles: Sequence[Hashable]) -> None:
        if handles:
            get_reusable_executor(**settings).shutdown(wait=False, kill_workers=True)

    return Pool(lambda: workers, submit, finish, close)


def _result(future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except TerminatedWorkerError:  # the pool is gone with all its runs; scheduling finds out whose fault it is
        return Outcome("died")


def _begin(driver: int, gpus: Sequence[str]) -> None:
    """What a new worker does first: it watches its driver, and takes a GPU in turn, before anything asks CUDA for one.

    Its name ends in its number: LokyProcess-3.
    """
    threading.Thread(target=_end_with, args=(driver,), daemon=True).start()
    if gpus:
        number = int(re.findall(r"\d+", current_process().name)[-1])
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]


def _end_with(driver: int) -> None:
    """Ends this worker when its driver was killed, but not before the run that it is at is saved."""
    while os.getppid() == driver:
        time.sleep(ORPHAN_POLL)
    with AT_WORK:
        os._exit(0)
