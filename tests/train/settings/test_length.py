"""The length of a run: known, or laid over a budget on the way."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.train.optim.updates import learning_rates
from lowzoo.train.recipes.schedules import progress
from lowzoo.train.runs.budget import Budget
from lowzoo.train.settings.config import named_fields, resolve
from lowzoo.train.settings.length import Length, Segment, read_segments


@pytest.mark.parametrize("update", ["step", "epoch"])
@pytest.mark.parametrize(("epochs", "per_epoch"), [(1, 1), (3, 7), (5, 4)])
def test_a_known_length_has_the_progress_of_its_epochs(epochs: int, per_epoch: int, update) -> None:
    length = Length.known(epochs * per_epoch, per_epoch)
    np.testing.assert_array_equal(length.progress(update), progress(epochs, per_epoch, update))


def test_a_length_laid_again_goes_on_from_its_progress_and_ends_at_the_end() -> None:
    length = Length(4, (Segment(0, 0.0, 1000), Segment(5, 0.05, 100)))
    longer = length.relaid(50, 200)
    before, after = length.progress(), longer.progress()
    np.testing.assert_array_equal(after[:50], before[:50])
    assert after[50] == pytest.approx(before[50])
    steps = np.diff(after[50:])
    np.testing.assert_allclose(steps, (1 - before[50]) / 150)
    assert after[-1] + steps[-1] == pytest.approx(1)
    assert longer.until(50) == length


def test_a_run_of_minutes_ends_at_the_end_of_its_rate() -> None:
    config = resolve("sample", settings=["minutes=3"])
    rates = learning_rates(config, Length(10, (Segment(0, 0.0, 1000), Segment(4, 0.02, 200), Segment(90, 0.5, 160))))
    assert len(rates) == 160
    assert rates[-1] == pytest.approx(config.lr_end, rel=0.1)
    assert (np.diff(rates[20:]) <= 0).all()  # past the warm-up it only falls, over the correction too


@pytest.mark.parametrize("schedule", ["cosine", "vissl", "sslight"])
def test_steps_may_end_within_an_epoch(schedule: str) -> None:
    config = resolve("rob_dino", settings=["steps=25", f"schedule={schedule}", "warmup=0.2"])
    rates = learning_rates(config, Length.of(config, steps_per_epoch=10))
    # A rate that changes with the epochs alone would stand at its start for all of the first.
    assert len(rates) == 25
    assert len(np.unique(rates)) > 20


class _Clock:
    """A step takes `seconds`, of the machine as it is then."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("slower", [1.0, 2.0, 0.5])
def test_a_budget_is_kept_also_where_the_machine_changes_its_speed(tmp_path: Path, slower: float) -> None:
    clock, said = _Clock(), []
    budget = Budget(10, spent=30, folder=tmp_path, monitors=8, say=said.append, clock=clock)
    budget.measured(4.0)
    budget.plan_monitors()
    assert budget.monitors == 8
    clock.now += 4.0
    length, step = Length(20, (Segment(0, 0.0, 1000),)), 0
    while step < length.total:
        clock.now += 0.5 * (slower if step > 300 else 1)
        step += 1
        if step * 8 // length.total > (step - 1) * 8 // length.total:
            clock.now += 4.0
        if step < length.total:
            length = budget.after(step, length)
    spent = 30 + clock.now
    assert 0.95 * 600 < spent < 1.02 * 600
    assert read_segments(tmp_path) == length.segments
    assert len(said) == 1
    assert "passes over the images" in said[0]
    assert length.progress()[-1] > 0.99


def test_what_an_earlier_part_of_the_run_laid_out_is_followed(tmp_path: Path) -> None:
    laid = Length(10, (Segment(0, 0.0, 1000), Segment(6, 0.03, 200), Segment(40, 0.2, 190)))
    clock = _Clock()
    budget = Budget(5, spent=60, folder=tmp_path, monitors=8, clock=clock)
    for step in range(20, 41):
        clock.now += 9.0
        assert budget.after(step, laid) is laid
    assert not (tmp_path / "budget.json").exists()


def test_a_budget_that_is_spent_before_the_first_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LowzooError, match=r"budget of 0\.1 minutes was spent before the first step, after 7 s"):
        Budget(0.1, spent=7, folder=tmp_path, monitors=8)


def test_a_damaged_layout_is_named(tmp_path: Path) -> None:
    (tmp_path / "budget.json").write_text(json.dumps([{"step": 0}]))
    with pytest.raises(LowzooError, match=r"budget\.json is damaged"):
        read_segments(tmp_path)


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(["epochs", "steps", "minutes"], 2)))
def test_one_length_takes_the_place_of_another(first: str, second: str) -> None:
    config = resolve("sample", settings=[f"{first}=3", f"{second}=2"])
    assert (getattr(config, second), getattr(config, first)) == (2, 0)
    with pytest.raises(LowzooError, match="both give the length"):
        named_fields(options={first: 3, second: 2})


@pytest.mark.parametrize("word", ["minutes=0", "steps=0", "epochs=0", "minutes=-1", "minutes=nan", "minutes=inf"])
def test_a_length_of_nothing_is_refused(word: str) -> None:
    with pytest.raises(LowzooError, match=f"{word.partition('=')[0]} = "):
        resolve("sample", settings=[word])


def test_a_slow_monitor_measures_less_often(tmp_path: Path) -> None:
    budget = Budget(1, spent=0, folder=tmp_path, monitors=8)
    budget.measured(2.5)
    budget.plan_monitors()
    assert budget.monitors == 2  # a tenth of a minute
    budget.measured(60.0)
    assert budget.monitors == 2, "all processes stop at the same marks to the end"


@pytest.mark.parametrize(
    ("minutes", "step", "steps"), [(1, 10.0, 5), (1, 30.0, 2), (3, 120.0, 1), (3, 80.0, 2), (1, 1.0, 57)]
)
def test_steps_that_take_long_are_no_more_than_fit(tmp_path: Path, minutes: int, step: float, steps: int) -> None:
    clock, said = _Clock(), []
    budget = Budget(minutes, spent=0, folder=tmp_path, monitors=1, say=said.append, clock=clock)
    budget.plan_monitors()
    length, made = Length(20, (Segment(0, 0.0, 1000),)), 0
    while made < length.total:
        clock.now += step
        made += 1
        if made < length.total:
            length = budget.after(made, length)
    assert made == length.total == steps
    assert clock.now <= max(step, 60 * minutes)
    assert said[0].startswith("1 step fits" if steps == 1 else f"{steps} steps fit")


def test_more_steps_than_can_be_laid_out_are_refused() -> None:
    for setting in ("steps=10000000000000", "epochs=1000000000"):
        with pytest.raises(LowzooError, match=r"steps, and 10,000,000 are the most"):
            Length.of(resolve("sample", settings=[setting]), 100)
