"""How much memory a run takes at its peak, and how much the machine has, in MiB."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_MIB = 2**20
# glibc's M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD. Kept: blocks up to 1 GiB lie in the heap, which does not
# shrink. Let go: the largest values that glibc arrives at by itself, since it cannot be told to look for them again.
_KEEP = ((-3, 2**30), (-1, 2**31 - 1), (-2, 2**26))
_LET_GO = ((-3, 2**25), (-1, 2**26), (-2, 2**17))
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
    found["process"] = _peak_resident()
    if gpu:
        found["gpu"] = torch.cuda.max_memory_allocated() / _MIB
        found["gpu_reserved"] = torch.cuda.max_memory_reserved() / _MIB


@contextmanager
def kept_memory() -> Iterator[None]:
    """Memory that is freed stays with this process while the context lasts, and goes back to the system afterwards.

    A training step asks for the same memory again and again. glibc gives large blocks back as soon as they are free,
    and then each of their pages is a page fault when it is next written to, which long texts make felt. With another C
    library nothing is done.

    >>> with kept_memory():
    ...     _ = torch.zeros(10)
    """
    library = ctypes.CDLL(None)
    if not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        yield
        return
    for parameter, value in _KEEP:
        library.mallopt(parameter, value)
    try:
        yield
    finally:
        for parameter, value in _LET_GO:
            library.mallopt(parameter, value)
        library.malloc_trim(0)


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


def in_words(mib: float) -> str:
    """An amount of memory in words.

    >>> in_words(812.3), in_words(6000)
    ('812 MiB', '5.9 GiB')
    """
    return f"{mib:.0f} MiB" if mib < 1000 else f"{mib / 1024:.1f} GiB"


def _peak_resident() -> float:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError, ValueError):
        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB
