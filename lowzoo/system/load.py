"""Whether something else uses the CPU, before and while a model is timed.

The load average lags a minute behind and counts what waits for a disk; the kernel's own account of CPU time does
neither, and what the timed process took can be subtracted from it.
"""

import os
import time

# Guests are counted within user and nice already.
_NOT_BUSY = ("idle", "iowait", "guest", "guest_nice")


def busy_seconds() -> float | None:
    """CPU time that everything on this computer has taken since it started; None where the system hides it."""
    import psutil

    try:
        times = psutil.cpu_times()._asdict()
    except (OSError, psutil.Error):
        return None
    return float(sum(seconds for kind, seconds in times.items() if kind not in _NOT_BUSY))


def busy_cores(watch_s: float) -> float | None:
    """Cores' worth of CPU time that everything takes while this process sleeps for `watch_s` seconds."""
    before, start = busy_seconds(), time.perf_counter()
    if before is None or watch_s <= 0:
        return None
    time.sleep(watch_s)
    after = busy_seconds()
    return None if after is None else round(max(0.0, after - before) / (time.perf_counter() - start), 2)


class OtherLoad:
    """Watches what everything but the children of this process takes.

    The children count once they have ended, so create it before a child starts and ask after it was waited for.
    """

    def __init__(self) -> None:
        self._busy = busy_seconds()
        self._own = _own_seconds()
        self._start = time.perf_counter()

    def cores(self) -> float | None:
        """Cores' worth of CPU time of all others since the start."""
        now = busy_seconds()
        if now is None or self._busy is None:
            return None
        others = (now - self._busy) - (_own_seconds() - self._own)
        return round(max(0.0, others) / max(time.perf_counter() - self._start, 1e-6), 2)


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
