"""Runs whose length is given in steps or minutes: they end where they should, and go on to the same bits."""

import json
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lowzoo.base.errors import LowzooError
from lowzoo.train.monitoring.metrics import read_metrics
from lowzoo.train.monitoring.progress import Progress, StepClock
from lowzoo.train.runs import budget
from lowzoo.train.runs.loop import Run
from lowzoo.train.runs.memory import Memory
from lowzoo.train.runs.result import RunResult
from lowzoo.train.settings.length import Length, Segment, read_segments
from tests.helpers.train import config_of, start


def _train(run: Run) -> RunResult:
    result = run.train(Progress())
    assert result is not None
    return result


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def _same(one: Path, other: Path) -> bool:
    ours, theirs = _weights(one), _weights(other)
    return all(torch.equal(value, theirs[key]) for key, value in ours.items())


@pytest.mark.slow
def test_steps_may_be_fewer_than_an_epoch_and_more(world: Path, tmp_path: Path) -> None:
    for steps in (2, 8):
        out = tmp_path / str(steps)
        result = _train(start(world, out, config_of("rob_dino", world, f"steps={steps}")))
        assert (result.facts["steps"], result.facts["epochs"]) == (steps, round(steps / 6, 2))
        measured = [row["step"] for row in read_metrics(out / "metrics.jsonl") if "rankme" in row]
        assert measured == sorted(set(measured))
        assert (measured[0], measured[-1]) == (0, steps)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step takes a second, and everything else none."""
    passed = [0.0]
    begin, after = budget.Budget.__init__, budget.Budget.after

    def with_clock(self: budget.Budget, minutes: float, spent: float, *words: object, **named: object) -> None:
        begin(self, minutes, 0.0, *words, clock=lambda: passed[0], **named)  # type: ignore[arg-type]

    def one_second_later(self: budget.Budget, step: int, length: Length) -> Length:
        passed[0] += 1
        return after(self, step, length)

    monkeypatch.setattr(budget.Budget, "__init__", with_clock)
    monkeypatch.setattr(budget.Budget, "after", one_second_later)
    monkeypatch.setattr(budget.Budget, "measured", lambda *_: None)


@pytest.mark.slow
@pytest.mark.usefixtures("ticking")
def test_a_run_of_minutes_that_is_ended_goes_on_to_the_bits_of_the_one_that_was_not(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of("rob_dino", world, "minutes=0.5", "checkpoint_steps=4")
    whole = tmp_path / "whole"
    result = _train(start(world, whole, config))
    segments = read_segments(whole)
    assert len(segments) >= 2
    assert result.facts["steps"] == segments[-1].total > 10
    assert result.facts["minutes"] == 0.5

    monkeypatch.setattr(budget, "_CORRECTIONS", ())
    # What the first run laid out is what the second one follows, whenever it is ended.
    broken = tmp_path / "broken"
    begun = start(world, broken, config)
    begun._lay(Length(begun.length.steps_per_epoch, segments), _Silent())
    (broken / "budget.json").write_text((whole / "budget.json").read_text())
    for _ in begun.steps(StepClock(begun.device)):
        if begun.step == 9:
            begun._save(keep=False)
            break
    resumed = start(world, broken, config, resume=True)
    assert resumed.length.segments == segments
    _train(resumed)
    assert _same(whole, broken)


class _Silent(Progress):
    def lengthen(self, steps: int) -> None:
        pass


@pytest.mark.slow
@pytest.mark.usefixtures("ticking")
def test_more_minutes_train_a_finished_run_on_and_fewer_are_refused(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = _train(start(world, out, config_of("rob_dino", world, "minutes=0.5")))
    again = _train(start(world, out, config_of("rob_dino", world, "minutes=0.5"), resume=True))
    assert again.facts["steps"] == first.facts["steps"]
    with pytest.raises(LowzooError, match=r"minutes = 0\.001 are spent"):
        start(world, out, config_of("rob_dino", world, "minutes=0.001"), resume=True)
    longer = _train(start(world, out, config_of("rob_dino", world, "minutes=0.9"), resume=True))
    assert longer.facts["steps"] > first.facts["steps"]
    (change,) = longer.facts["changes"]
    assert (change["key"], change["before"], change["after"]) == ("minutes", 0.5, 0.9)
    epochs = longer.facts["steps"] // 6 + 2
    by_epochs = _train(start(world, out, config_of("rob_dino", world, f"epochs={epochs}"), resume=True))
    assert by_epochs.facts["steps"] == 6 * epochs
    assert "minutes 0.9 -> absent" in (out / "README.md").read_text()


def test_a_batch_that_does_not_fit_is_trained_in_parts(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lowzoo.train.runs.accumulation.estimate", lambda *_: Memory(fixed=0, per_image=10**9))
    monkeypatch.setattr("lowzoo.train.runs.accumulation.taken_memory", lambda *_: 0)
    monkeypatch.setattr("lowzoo.train.runs.accumulation.watching", lambda *_: 0)
    monkeypatch.setattr("lowzoo.train.runs.accumulation.free_memory", lambda *_: 1.3 * 10**9)
    config = config_of("rob_dino", world, "steps=2")
    said: list[str] = []
    run = start(world, tmp_path / "run", config, say=said.append)
    assert run.config.accumulate == config.batch_size
    assert any("goes through them in" in line for line in said)
    assert _train(run).facts["steps"] == 2
    assert json.loads((tmp_path / "run" / "run.json").read_text())["batch_size"] == config.batch_size
    assert "accumulate" in (tmp_path / "run" / "config.toml").read_text()
    monkeypatch.setattr("lowzoo.train.runs.accumulation.free_memory", lambda *_: 1)
    with pytest.raises(LowzooError, match=r"a step needs 1\.0 GB beside what is in use, even with 1 image at once"):
        start(world, tmp_path / "other", config)


@pytest.mark.slow
@pytest.mark.usefixtures("ticking")
def test_a_resumed_budget_measures_as_often_as_the_whole_one(world: Path, tmp_path: Path) -> None:
    run = start(world, tmp_path, config_of("rob_dino", world, "minutes=0.5", "checkpoint_steps=4"))
    run.budget = budget.Budget(0.5, 0, tmp_path, 3, 2.5)
    for _ in run.steps(StepClock(run.device)):
        if run.step == 4:
            run._save(keep=False)
            break
    resumed = start(world, tmp_path, run.config, resume=True)._make_budget(0)
    assert (resumed.monitors, resumed.measuring) == (3, 2.5)
    # Who says otherwise since gets what fits: a tenth of a minute, and of the minute no more than asked.
    more = start(world, tmp_path, config_of("rob_dino", world, "minutes=1", "checkpoint_steps=4"), resume=True)
    assert more._make_budget(0).monitors == 2
    rarely = run.config.model_copy(update={"monitor_times": 1})
    assert start(world, tmp_path, rarely, resume=True)._make_budget(0).monitors == 1


def test_a_run_that_is_loaded_as_its_minutes_end_is_concluded(world: Path, tmp_path: Path) -> None:
    config = config_of("rob_dino", world, "minutes=0.5", "checkpoint_steps=4")
    run = start(world, tmp_path, config)
    for _ in run.steps(StepClock(run.device)):
        if run.step == 4:
            run._began = time.monotonic() - 29  # most of it before the first step
            run._save(keep=False)
            break
    said: list[str] = []
    resumed = start(world, tmp_path, config, resume=True, say=said.append)
    resumed._began -= 2
    assert _train(resumed).facts["steps"] == 4
    assert "0.5 minutes are spent: the run ends at step 4 of as many as fit" in said
    assert (tmp_path / "model.safetensors").exists()


def test_a_run_that_diverges_before_a_loss_is_logged_ends_with_advice(world: Path, tmp_path: Path) -> None:
    config = config_of("rob_dino", world, "steps=3", "lr=1e30", "lr_start=1e30", "lr_batch=0", "guard=false")
    with pytest.raises(LowzooError, match="are no finite numbers") as caught:
        _train(start(world, tmp_path, config))
    assert "Lower the learning rate" in caught.value.remedy


def test_what_is_left_of_a_budget_is_shown_and_its_steps_once_they_are_known(tmp_path: Path) -> None:
    now = [100.0]
    minutes = budget.Budget(2, 30, tmp_path, 1, clock=lambda: now[0])
    assert minutes.left() == 90
    now[0] += 100
    assert minutes.left() == 0

    class Bar(Progress):
        def running(self, *words: object, **named: object) -> None:  # type: ignore[override]
            shown.append((*words, *named.values()))

    shown: list[tuple[object, ...]] = []
    guessed, known = Length(6, (Segment(0, 0.0, 1000),)), Length(6, (Segment(0, 0.0, 1000), Segment(5, 0.1, 50)))
    budget.shown_run(Bar(), guessed, 0, 8, minutes)
    budget.shown_run(Bar(), known, 7, 8, minutes)
    budget.shown_run(Bar(), known, 7, 8, None)
    assert [row[:3] for row in shown] == [(None, 0, 8), (50, 7, 8), (50, 7, 8)]
    assert [len(row) for row in shown] == [4, 4, 3]


def test_segments_are_kept_before_they_take_effect() -> None:
    length = Length(6, (Segment(0, 0.0, 1000), Segment(5, 0.1, 50)))
    assert length.until(5).guessed
    assert length.until(6) == length
