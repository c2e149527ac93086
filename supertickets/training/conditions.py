"""What a run is carried out under, so that its numbers do not depend on how many workers there are."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def run_conditions() -> Iterator[None]:
    """One torch thread on the CPU while the context lasts: another number of threads adds up in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
