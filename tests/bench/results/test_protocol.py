"""Timing: when it stops, by a clock of our own, and what is said about known samples."""

import gc

import numpy as np
import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.bench.results.protocol import QUICK, STANDARD, Protocol, percentile, spread, statistics, time_runs

MS = 1_000_000


class Clock:
    """A clock that moves when the model runs, and at no other time."""

    def __init__(self, ms: float) -> None:
        self.now = 0
        self.step = int(ms * MS)

    def __call__(self) -> int:
        return self.now

    def run(self) -> None:
        self.now += self.step


def timed(ms, protocol):
    clock = Clock(ms)
    return time_runs(clock.run, protocol, clock)


def test_the_standard_is_the_documented_one():
    assert (STANDARD.warmup_s, STANDARD.min_runs, STANDARD.min_s, STANDARD.max_s, STANDARD.repeats) == (
        1,
        200,
        2,
        10,
        5,
    )
    assert QUICK.repeats == 1


@pytest.mark.parametrize(
    ("ms", "warmup_runs", "runs"),
    [
        (1, 1000, 2000),  # 200 runs would cover 0.2 s only
        (10, 100, 200),  # both at once
        (40, 25, 200),  # 200 runs take 8 s
        (100, 10, 100),  # 10 s are over first
        (30_000, 1, 1),  # one run is always taken
    ],
)
def test_when_it_stops(ms, warmup_runs, runs):
    timing = timed(ms, STANDARD)
    assert timing.warmup_runs == warmup_runs
    assert timing.samples_ms == (ms,) * runs


def test_a_run_is_billed_alone():
    """What happens between two runs is in no sample."""
    ticks = iter(range(0, 10_000 * MS, MS))
    calls = []
    timing = time_runs(lambda: calls.append(1), Protocol(0, 3, 0, 10, 1), lambda: next(ticks))
    assert timing.samples_ms == (1, 1, 1), "only the two readings around the run"
    assert len(calls) == timing.warmup_runs + 3


def test_collections_wait_until_the_end_and_return_after_a_failure():
    assert gc.isenabled()
    seen = []
    time_runs(lambda: seen.append(gc.isenabled()), Protocol(0, 2, 0, 1, 1))
    assert seen == [False] * 3
    with pytest.raises(ZeroDivisionError):
        time_runs(lambda: 1 // 0, STANDARD)
    assert gc.isenabled()


def test_statistics_by_hand():
    found = statistics([4, 1, 3, 2, 10])
    assert (found.n, found.median_ms, found.min_ms, found.mean_ms) == (5, 3, 1, 4)
    assert found.p90_ms == pytest.approx(7.6)  # 0.6 of the way from 4 to 10
    assert found.p99_ms == pytest.approx(9.76)
    assert found.std_ms == pytest.approx(12.5**0.5)


def test_statistics_as_numpy_has_them():
    samples = np.random.default_rng(0).lognormal(size=997)
    found = statistics(samples.tolist())
    assert found.median_ms == pytest.approx(np.median(samples))
    assert found.p90_ms == pytest.approx(np.percentile(samples, 90))
    assert found.p99_ms == pytest.approx(np.percentile(samples, 99))
    assert found.std_ms == pytest.approx(samples.std(ddof=1))


def test_one_sample():
    found = statistics([7.5])
    assert (found.n, found.median_ms, found.p99_ms, found.std_ms) == (1, 7.5, 7.5, 0)


def test_percentile_of_two():
    assert [percentile([1, 3], p) for p in (0, 50, 100)] == [1, 2, 3]


def test_spread_of_medians():
    found = spread([5.5, 5.0, 6.0])
    assert (found.min_ms, found.max_ms) == (5, 6)
    assert found.relative == pytest.approx(1 / 5.5)


@pytest.mark.parametrize(
    "wrong", [{"repeats": 0}, {"repeats": 101}, {"min_runs": 0}, {"min_s": 11.0}, {"min_s": -1.0}, {"warmup_s": -1.0}]
)
def test_refusals(wrong):
    with pytest.raises(LowzooError):
        Protocol(**wrong)
