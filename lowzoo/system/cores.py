"""How many cores this process may use."""

import math
import os

from lowzoo.base.errors import LowzooError
from lowzoo.system import control_groups


def usable_cores() -> int:
    """Number of logical cores that this process may keep busy.

    A container's limit of CPU time (`docker run --cpus 1.5`) counts up to the next whole core.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = control_groups.cpu_limit()
    return cores if limit is None else min(cores, math.ceil(limit))


def keep_to_cpu_limit() -> None:
    """Let libraries that are loaded later start no more threads than a container's limit of CPU time feeds.

    torch starts one for every physical core of the machine, and those beyond the limit stop each other.
    """
    if control_groups.cpu_limit() is None:
        return
    import psutil

    if usable_cores() < (psutil.cpu_count(logical=False) or os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))


def check_threads(threads: int) -> None:
    """Refuse a number of threads that this computer cannot run at once.

    Raises:
        LowzooError: Fewer than 1, or more than the cores that this process may use.
    """
    if not 1 <= threads <= usable_cores():
        raise LowzooError(
            f"{threads} threads are impossible here", f"Use --threads 1 to {usable_cores()}, the cores of this computer"
        )
