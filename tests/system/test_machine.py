"""What the trainer asks of the machine."""

import platform
import subprocess
import sys

import pytest

PEAKS = """
import resource, torch
from lowzoo.system.machine import keep_freed_memory
keep_freed_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(16_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_freed_memory_is_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    # An array of 64 MB has 15,625 pages of 4 kB; given back to the system, 20 of them would fault in every one anew.
    # The first few may take new memory, as where it lies depends on what the process needed before, so that the second
    # twenty are counted: not one of them may.
    assert int(done.stdout) < 15_625
