"""How much memory this process has needed; imports next to nothing, as it runs where memory is measured."""

import sys
from pathlib import Path


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far, in MB; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage would do no good here: a child starts with the peak of the parent that spawned it.
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) * 1024 / 1e6, 2)
    if sys.platform == "darwin":
        import resource

        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
    return None
