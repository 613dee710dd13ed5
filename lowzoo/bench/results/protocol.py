"""How every target is timed, and what is said about the samples.

In a fresh process: load the file, run once (the first run, kept apart), warm up, then take one sample a run. Warming up
ends after `warmup_s`; timing ends when there are `min_runs` samples that cover `min_s`, or when `max_s` have passed,
whichever is first. So every process gives 200 runs or 10 s by default. The whole is repeated in `repeats` processes,
because memory layout, thread placement and clock differ from process to process more than from run to run.
"""

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lowzoo.base.errors import LowzooError


@dataclass(frozen=True, slots=True)
class Protocol:
    """How long and how often.

    Args:
        warmup_s: Seconds of warming up, at least one run.
        min_runs: Samples that are enough, once they cover `min_s`.
        min_s: Seconds the samples have to cover.
        max_s: Seconds after which no further sample is started, however few there are; one is always taken.
        repeats: Fresh processes.

    Raises:
        LowzooError: A number that makes no measurement.
    """

    warmup_s: float = 1.0
    min_runs: int = 200
    min_s: float = 2.0
    max_s: float = 10.0
    repeats: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.repeats <= 100:
            raise LowzooError(f"{self.repeats} repeats are impossible", "Use --repeats 1 to 100")
        if self.min_runs < 1 or not 0 <= self.min_s <= self.max_s or self.warmup_s < 0:
            raise LowzooError(f"{self!r} measures nothing", "Keep min_runs >= 1 and 0 <= min_s <= max_s")

    def times_as(self, other: "Protocol") -> bool:
        """Whether each process is timed as by the other one, however many processes there are."""
        return replace(self, repeats=other.repeats) == other

    def in_words(self, unit: str = "process") -> str:
        """Say it in words, e.g. `5 processes, each 1 s of warm-up, then ...`."""
        units = unit if self.repeats == 1 else f"{unit}es" if unit.endswith("s") else f"{unit}s"
        runs = f"{self.min_runs} runs over at least {self.min_s:g} s, or {self.max_s:g} s"
        return f"{self.repeats} {units}, each {self.warmup_s:g} s of warm-up, then {runs}"


STANDARD = Protocol()
QUICK = Protocol(warmup_s=0.3, min_runs=50, min_s=0.5, max_s=3.0, repeats=1)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What n samples say; times in ms.

    Percentiles interpolate linearly between the two nearest samples; the standard deviation divides by n - 1.
    """

    n: int
    median_ms: float
    p90_ms: float
    p99_ms: float
    min_ms: float
    mean_ms: float
    std_ms: float


@dataclass(frozen=True, slots=True)
class Spread:
    """How far the medians of the repeats lie apart.

    Args:
        min_ms: Smallest median.
        max_ms: Largest median.
        relative: Their difference over the median of the medians.
    """

    min_ms: float
    max_ms: float
    relative: float


@dataclass(frozen=True, slots=True)
class Timing:
    """What timing one process gives: number of runs to warm up, then ms of each run that counts, in order."""

    warmup_runs: int
    samples_ms: tuple[float, ...]


def time_runs(run: Callable[[], object], protocol: Protocol, clock: Callable[[], int] = time.perf_counter_ns) -> Timing:
    """Warm up, then time one run after another.

    Args:
        run: What is timed.
        protocol: How long.
        clock: Nanoseconds, monotonic.
    """
    # A collection in the middle of a run would be billed to the model.
    collecting = gc.isenabled()
    gc.disable()
    try:
        start, warmup_runs = clock(), 0
        while warmup_runs == 0 or clock() - start < protocol.warmup_s * 1e9:
            run()
            warmup_runs += 1
        samples: list[int] = []
        start = now = clock()
        while not _enough(len(samples), (now - start) / 1e9, protocol):
            before = clock()
            run()
            now = clock()
            samples.append(now - before)
    finally:
        if collecting:
            gc.enable()
    return Timing(warmup_runs, tuple(round(sample / 1e6, 5) for sample in samples))


def runs_for(each_ms: float, protocol: Protocol) -> tuple[int, int]:
    """Runs to warm up and runs to time, when one takes `each_ms`: for engines that are told numbers and not seconds."""
    each = max(each_ms, 1e-3) / 1e3
    wanted = max(protocol.min_runs, math.ceil(protocol.min_s / each))
    return max(1, math.ceil(protocol.warmup_s / each)), max(1, min(wanted, math.ceil(protocol.max_s / each)))


def statistics(samples_ms: Sequence[float]) -> Statistics:
    """Describe samples (n >= 1) in ms."""
    ordered = sorted(samples_ms)
    n = len(ordered)
    mean = math.fsum(ordered) / n
    variance = math.fsum((sample - mean) ** 2 for sample in ordered) / (n - 1) if n > 1 else 0.0
    return Statistics(
        n=n,
        median_ms=percentile(ordered, 50),
        p90_ms=percentile(ordered, 90),
        p99_ms=percentile(ordered, 99),
        min_ms=ordered[0],
        mean_ms=mean,
        std_ms=math.sqrt(variance),
    )


def percentile(ordered: Sequence[float], per_cent: float) -> float:
    """The value below which `per_cent` of ascending samples lie."""
    place = per_cent / 100 * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def spread(medians_ms: Sequence[float]) -> Spread:
    """Describe the medians of the repeats (at least one) in ms."""
    low, high = min(medians_ms), max(medians_ms)
    return Spread(low, high, (high - low) / percentile(sorted(medians_ms), 50))


def _enough(runs: int, seconds: float, protocol: Protocol) -> bool:
    if runs == 0:
        return False
    return seconds >= protocol.max_s or (runs >= protocol.min_runs and seconds >= protocol.min_s)
