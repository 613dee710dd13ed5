"""How many cores this process may use."""

import os

from lowzoo.base.errors import LowzooError


def usable_cores() -> int:
    """Number of logical cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_threads(threads: int) -> None:
    """Refuse a number of threads that this computer cannot run at once.

    Raises:
        LowzooError: Fewer than 1, or more than the cores that this process may use.
    """
    if not 1 <= threads <= usable_cores():
        raise LowzooError(
            f"{threads} threads are impossible here", f"Use --threads 1 to {usable_cores()}, the cores of this computer"
        )
