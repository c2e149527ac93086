"""What a run is carried out under: one torch thread, and memory that stays from step to step."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

# glibc's M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD. Kept: blocks up to 1 GiB lie in the heap, which does not
# shrink. Let go: the largest values that glibc arrives at by itself, since it cannot be told to look for them again.
_KEEP = ((-3, 2**30), (-1, 2**31 - 1), (-2, 2**26))
_LET_GO = ((-3, 2**25), (-1, 2**26), (-2, 2**17))


@contextmanager
def run_conditions() -> Iterator[None]:
    """What a run is carried out under: one torch thread on the CPU, and memory that is kept from step to step.

    With one thread, numbers do not depend on how many workers there are.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # Steps on a GPU ask nothing of the host's memory, and a worker there should not keep what its data once took.
        with kept_memory() if not torch.cuda.is_available() else nullcontext():
            yield
    finally:
        torch.set_num_threads(before)


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
