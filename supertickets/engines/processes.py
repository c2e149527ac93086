"""Worker processes of this machine, each with a GPU of its own where there are several."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, cast

import torch
from loky import get_reusable_executor
from loky.backend.context import get_context
from loky.process_executor import TerminatedWorkerError

from supertickets.engines.execution import AT_WORK, execute
from supertickets.engines.pool import Outcome, Pool
from supertickets.runs import RunStore, Spec

ORPHAN_POLL = 0.5
"""Seconds between two looks of a worker at whether its driver is still there."""


def gpu_of(worker: int, n_gpus: int, visible: str = "") -> str:
    """What CUDA_VISIBLE_DEVICES is for a worker, by its number: workers are dealt out to the GPUs in turn.

    ``visible`` is what it was before.

    >>> [gpu_of(worker, 2) for worker in range(4)]
    ['0', '1', '0', '1']
    >>> gpu_of(3, 2, "5,GPU-1f")
    'GPU-1f'
    """
    names = visible.split(",") if visible else [str(number) for number in range(n_gpus)]
    return names[worker % n_gpus]


def process_pool(store: RunStore, models: str | None, workers: int) -> Pool:
    """Worker processes of this machine, which stay for the next sweep."""
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    # Thread counts must be in the environment before a worker imports torch.
    environment = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    # loky takes growth by 300 MB for a leak and starts the worker anew, which costs seconds; a larger task is no leak.
    environment["LOKY_MAX_MEMORY_LEAK_SIZE"] = "1e10"
    settings: dict[str, Any] = {"max_workers": workers, "timeout": 600, "env": environment}
    settings |= {"initializer": _begin, "initargs": (os.getpid(), _worker_count() if n_gpus > 1 else None, n_gpus)}

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


@functools.cache
def _worker_count() -> Any:
    return get_context("loky").Value("i", 0)


def _begin(driver: int, count: Any, n_gpus: int) -> None:
    """What a new worker does first: it watches its driver, and is bound to one of several GPUs, if there are."""
    threading.Thread(target=_end_with, args=(driver,), daemon=True).start()
    if count is not None:
        _take_gpu(count, n_gpus)


def _end_with(driver: int) -> None:
    """Ends this worker when its driver was killed, but not before the run that it is at is saved."""
    while os.getppid() == driver:
        time.sleep(ORPHAN_POLL)
    with AT_WORK:
        os._exit(0)


def _take_gpu(count: Any, n_gpus: int) -> None:
    """Binds this new worker to a GPU, before anything asks CUDA what there is."""
    with count.get_lock():
        worker, count.value = count.value, count.value + 1
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu_of(worker, n_gpus, os.environ.get("CUDA_VISIBLE_DEVICES", ""))
