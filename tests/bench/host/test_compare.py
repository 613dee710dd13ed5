"""A against B in turns: what a known ratio gives, that drift cancels, and what the interval holds."""

import random

import pytest

from lowzoo.bench.host.turns import MIN_TURNS, Turn, ratio_of, take_turns
from lowzoo.bench.results.protocol import Protocol

MS = 1_000_000


class Machine:
    """A clock that two models move, at speeds that may drift with time (factor a second)."""

    def __init__(self, a_ms: float, b_ms: float, drift: float = 0.0) -> None:
        self.now = 0
        self.costs = {"a": a_ms, "b": b_ms}
        self.drift = drift
        self.order = ""

    def run(self, name: str) -> None:
        self.now += round(self.costs[name] * MS * (1 + self.drift * self.now / 1e9))
        self.order += name

    def turns(self, protocol: Protocol) -> list[Turn]:
        return take_turns(lambda: self.run("a"), lambda: self.run("b"), protocol, lambda: self.now)


PROTOCOL = Protocol(warmup_s=0.1, min_runs=100, min_s=0.5, max_s=2.0, repeats=1)


def noisy(processes, ratio, seed, wobble=0.02, layout=0.01):
    chance = random.Random(seed)
    made = []
    for _ in range(processes):
        shift = chance.gauss(0, layout)
        turns = []
        for _ in range(20):
            a = [abs(chance.gauss(10, 10 * wobble)) for _ in range(9)]
            b = [abs(chance.gauss(10, 10 * wobble)) * ratio * (1 + shift) for _ in range(9)]
            turns.append(Turn(tuple(a), tuple(b)))
        made.append(turns)
    return made


def test_the_order_is_a_b_b_a():
    machine = Machine(30, 15)
    machine.turns(Protocol(warmup_s=0, min_runs=1, min_s=0, max_s=1, repeats=1))
    assert machine.order == "ab" + ("a" + 6 * "b" + "a") * MIN_TURNS


def test_blocks_of_both_take_as_long_and_the_protocol_is_kept():
    turns = Machine(2, 6).turns(PROTOCOL)
    assert {len(turn.a_ms) for turn in turns} == {40}
    assert {len(turn.b_ms) for turn in turns} == {14}
    assert len(turns) >= MIN_TURNS
    assert sum(len(turn.b_ms) for turn in turns) >= PROTOCOL.min_runs


def test_drift_cancels():
    found = ratio_of([Machine(10, 13, drift=0.2).turns(PROTOCOL) for _ in range(2)])
    assert found.ratio == pytest.approx(1.3, rel=2e-3)


def test_a_known_ratio_is_found():
    found = ratio_of(noisy(5, 0.8, seed=1))
    assert found.low < 0.8 < found.high < 0.9
    assert found.verdict == f"B is {1 / found.ratio:.2f} times as quick"
    assert ratio_of(noisy(5, 1.5, seed=1)).verdict.startswith("A is 1.5")
    assert ratio_of(noisy(5, 0.8, seed=1)) == found, "the bootstrap has a seed"


@pytest.mark.slow
def test_the_interval_of_equals_holds_one_nearly_always():
    held = [found.low <= 1 <= found.high for found in (ratio_of(noisy(5, 1.0, seed=seed)) for seed in range(30))]
    assert sum(held) >= 25, "95 % promised; five processes are few"
    assert "no difference" in ratio_of(noisy(5, 1.0, seed=3)).verdict


def test_between_processes_counts():
    """What differs from process to process widens the interval, however many turns there are."""
    narrow, wide = (ratio_of(noisy(5, 1.0, seed=2, layout=layout)) for layout in (0.0, 0.1))
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)
