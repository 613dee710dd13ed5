"""Is B quicker than A? Both in one process, in turns A B B A, so that drift and neighbours fall upon both alike.

A *turn* is four blocks A B B A; a linear drift over it cancels. Its log ratio is that of the medians of its samples of
B and of A. The ratio reported is exp of the mean over processes of the median of a process's log ratios. Its interval
comes from a bootstrap in two stages: processes with replacement (their memory layouts differ), then turns within each
with replacement (what else the machine did). A ratio below 1 says that B is quicker.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from time import perf_counter_ns

from lowzoo.bench.results.protocol import Protocol

RESAMPLES = 4000
CONFIDENCE = 0.95
BLOCK_S = 0.04
MIN_TURNS = 12


@dataclass(frozen=True, slots=True)
class Turn:
    """Samples in ms of the blocks A B B A, the two of each in one."""

    a_ms: tuple[float, ...]
    b_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """How long B takes as a part of A.

    Args:
        ratio: Below 1 if B is quicker.
        low: Lower end of the interval.
        high: Upper end.
        confidence: Confidence of the interval.
        processes: Fresh processes.
        turns: In all of them.
    """

    ratio: float
    low: float
    high: float
    confidence: float
    processes: int
    turns: int

    @property
    def verdict(self) -> str:
        """What the interval says, in words."""
        if self.low <= 1 <= self.high:
            return "no difference that this measurement can tell"
        quicker, factor = ("B", 1 / self.ratio) if self.ratio < 1 else ("A", self.ratio)
        return f"{quicker} is {factor:.2f} times as quick"


def take_turns(
    run_a: Callable[[], object],
    run_b: Callable[[], object],
    protocol: Protocol,
    clock: Callable[[], int] = perf_counter_ns,
) -> list[Turn]:
    """Warm both up, then time them in turns for as long as the protocol times one model, at least `MIN_TURNS`.

    Args:
        run_a: One run of A.
        run_b: One run of B.
        protocol: Protocol of each process.
        clock: Nanoseconds, monotonic.
    """
    lengths = []
    for run in (run_a, run_b):
        start, runs = clock(), 0
        while runs == 0 or clock() - start < protocol.warmup_s * 1e9:
            run()
            runs += 1
        lengths.append(max(1, round(BLOCK_S * 1e9 * runs / max(clock() - start, 1))))
    length_a, length_b = lengths
    turns: list[Turn] = []
    start = clock()
    while len(turns) < MIN_TURNS or not _enough(turns, (clock() - start) / 1e9, protocol):
        before = _block(run_a, length_a, clock)
        between = _block(run_b, 2 * length_b, clock)
        turns.append(Turn(before + _block(run_a, length_a, clock), between))
    return turns


def ratio_of(processes: Sequence[Sequence[Turn]], *, seed: int = 0) -> Ratio:
    """The ratio B / A with its bootstrap interval.

    Args:
        processes: The turns of each process.
        seed: Random seed of the bootstrap; the same turns give the same interval.
    """
    logs = [[math.log(median(turn.b_ms) / median(turn.a_ms)) for turn in turns] for turns in processes]
    chance = random.Random(seed)
    drawn = sorted(
        fmean(median(chance.choices(chosen, k=len(chosen))) for chosen in chance.choices(logs, k=len(logs)))
        for _ in range(RESAMPLES)
    )
    tail = round((1 - CONFIDENCE) / 2 * RESAMPLES)
    return Ratio(
        ratio=math.exp(fmean(median(found) for found in logs)),
        low=math.exp(drawn[tail]),
        high=math.exp(drawn[-1 - tail]),
        confidence=CONFIDENCE,
        processes=len(logs),
        turns=sum(len(found) for found in logs),
    )


def _block(run: Callable[[], object], length: int, clock: Callable[[], int]) -> tuple[float, ...]:
    samples = []
    for _ in range(length):
        before = clock()
        run()
        samples.append(clock() - before)
    return tuple(round(sample / 1e6, 5) for sample in samples)


def _enough(turns: Sequence[Turn], seconds: float, protocol: Protocol) -> bool:
    if seconds >= 2 * protocol.max_s:
        return True
    runs = min(sum(len(turn.a_ms) for turn in turns), sum(len(turn.b_ms) for turn in turns))
    return runs >= protocol.min_runs and seconds >= 2 * protocol.min_s
