"""Process-wide settings: what freed memory costs. Counted in page faults, which no load of the machine changes."""

import subprocess
import sys

import pytest

from quadrat.benchmark.learning.runtime import keep_freed_memory

# 20 tensors of 8 MiB, one after the other, each written to; a page has 4 KiB or more.
_FAULTS = """
import resource, torch
from quadrat.benchmark.learning.runtime import torch_settings

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for value in range(20):
        torch.full((2 << 20,), float(value))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

fresh = faults()
with torch_settings(torch.device("cpu"), 1):
    faults()
    print(fresh, faults())
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="the C library has no mallopt: freed memory is not kept")
def test_tensors_on_a_cpu_lie_in_memory_that_the_process_has() -> None:
    ran = subprocess.run([sys.executable, "-c", _FAULTS], capture_output=True, text=True, check=True)
    fresh, kept = (int(word) for word in ran.stdout.split())
    assert fresh >= 20, "each of these tensors was mapped anew"
    assert kept <= fresh / 10
