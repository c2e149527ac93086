"""What a machine has, and what a run takes of it: memory in MiB, workers, bf16."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

import loky
import torch

from supertickets.options import RUNS_PER_GPU

SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
"""The environment of a worker, which must have it before it imports torch."""
_MIB = 2**20
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@contextmanager
def peak_memory() -> Iterator[dict[str, float]]:
    """Fills the dict at the end with the peak memory of what was done in between.

    "process" is the largest resident size of this process, libraries and cached data included. Where the system
    cannot set its mark back (anywhere but on Linux), it is that since the process began: an upper bound. On a GPU
    there is also "gpu", the most that tensors took, and "gpu_reserved", the most that was set aside for them; what
    CUDA takes for itself is in neither.

    >>> with peak_memory() as found:
    ...     pass
    >>> found["process"] > 0
    True
    """
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # sets back VmHWM, and nothing else
    found: dict[str, float] = {}
    yield found
    if peak := _peak_resident():
        found["process"] = peak
    if gpu:
        found["gpu"] = torch.cuda.max_memory_allocated() / _MIB
        found["gpu_reserved"] = torch.cuda.max_memory_reserved() / _MIB


def machine_memory() -> float:
    """The machine's memory, or what this container may use of it; NaN if the system does not say."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _MIB
    except (AttributeError, OSError, ValueError):
        return float("nan")
    for path in _LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such limit, or the word "max"
            found = min(found, int(Path(path).read_text(encoding="ascii")) / _MIB)
    return found


def gpu_memory() -> float:
    """The memory of the smallest GPU; NaN without one."""
    sizes = [torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count())]
    return min(sizes, default=float("nan")) / _MIB


def _peak_resident() -> float:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError, ValueError):
        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        try:
            import resource
        except ImportError:  # on Windows, which is not asked
            return 0.0
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB


def visible_gpus() -> list[str]:
    """The GPUs that a sweep may use, named as in CUDA_VISIBLE_DEVICES: by number, by UUID, or as MIG instances.

    They are those that it names, up to the first that is none (as CUDA reads it): an empty value hides all. Without
    it they are all of the machine. Of MIG instances CUDA shows a process only the first; its workers get one each.
    """
    n_seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None or not n_seen:
        return [str(number) for number in range(n_seen)]
    names = list(takewhile(lambda name: name and name[0] != "-", (name.strip() for name in named.split(","))))
    return names if names[0].startswith("MIG") else names[:n_seen]


def default_workers(runs_per_gpu: int = RUNS_PER_GPU) -> int:
    """One worker per core this process may use, or ``runs_per_gpu`` for each GPU where GPUs do the work."""
    return len(visible_gpus()) * runs_per_gpu or loky.cpu_count()


def best_precision() -> str:
    """ "bf16" where the device multiplies bf16 matrices natively and faster than float32 ones, else "fp32"."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    # Native is not fast: some processors take twice as long for bf16 as for float32, others half as long.
    return "bf16" if native and _product(torch.bfloat16) < 0.8 * _product(torch.float32) else "fp32"


def _product(dtype: torch.dtype) -> float:
    """Seconds that a product of two matrices takes, the least of several."""
    a, seconds = torch.ones(512, 512, dtype=dtype), []
    for _ in range(9):
        start = time.perf_counter()
        torch.mm(a, a)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
