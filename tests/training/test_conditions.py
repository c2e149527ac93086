"""What a run is carried out under."""

import subprocess
import sys

import pytest


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the page faults of a Linux process")
def test_memory_that_is_kept_is_not_faulted_in_again_and_goes_back_afterwards():
    """In a process of its own, since what glibc has been told once stays told."""
    code = """
import resource, torch
from supertickets.training.conditions import kept_memory
from supertickets.engines.resources import _peak_resident
def rounds():
    for _ in range(10):
        blocks = [torch.ones(10_000_000) for _ in range(2)]  # 80 MB a round
        del blocks
def faults():
    rounds()  # until the heap has grown: how many rounds that takes is the C library's and the kernel's affair
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    rounds()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
plain, start = faults(), resident()
with kept_memory():
    kept, inside = faults(), resident()
print(plain, kept, inside - start, resident() - start)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    plain, kept, inside, after = map(float, done.stdout.split())
    if plain < 10 * 2 * 10:  # a fault for each 4 MiB of huge pages would be as many
        pytest.skip("this C library keeps memory by itself")
    assert kept < plain / 10  # not even one of the ten rounds
    assert inside > 60 > 10 > after  # MiB
