"""A run goes on under other settings, for longer, or from an earlier checkpoint: what it may, and what it records."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lowzoo.base.errors import LowzooError
from lowzoo.train.monitoring.metrics import read_metrics
from lowzoo.train.monitoring.progress import Progress, StepClock
from lowzoo.train.recipes import RECIPES
from lowzoo.train.runs.checkpoint import (
    go_back,
    keep_checkpoint,
    kept_steps,
    load_checkpoint,
    load_step,
    save_checkpoint,
)
from lowzoo.train.settings.changes import FREE, Change, changeable, first_config, last_extension, merge_changes, rewarm
from lowzoo.train.settings.config import config_class
from tests.helpers.train import config_of, start

FILES = ("model.safetensors", "head.safetensors")


def _train(world: Path, out: Path, *settings: str, **how: object) -> dict[str, object]:
    """A run of 6 steps an epoch; its facts."""
    result = start(world, out, config_of("rob_dino", world, "lr=0.01", *settings), **how).train(Progress())  # type: ignore[arg-type]
    assert result is not None
    return result.facts


def _losses(folder: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in read_metrics(folder / "metrics.jsonl") if "loss" in row]


def test_every_word_of_the_lists_is_a_setting() -> None:
    known = {key for recipe in RECIPES for key in config_class(recipe).model_fields}
    may_change = frozenset().union(*map(changeable, RECIPES))
    assert known >= may_change | FREE
    assert not may_change & FREE
    for key in ("seed", "batch_size", "views", "student", "teacher", "optimizer", "queue"):
        assert key not in may_change | FREE


def test_the_record_holds_what_was_before_whatever_happens_in_between(world: Path) -> None:
    first, lower = config_of("rob_dino", world, "lr=0.5"), config_of("rob_dino", world, "lr=0.1")
    longer = config_of("rob_dino", world, "lr=0.1", "epochs=4")
    once = merge_changes([], first, lower, 6, 0.2)
    assert once == [Change(6, "lr", 0.5, 0.1)]
    # The same command again, after a kill before the next checkpoint.
    assert merge_changes(once, lower, lower, 6, 0.2) == once
    both = merge_changes(once, lower, longer, 12, 0.003)
    assert both == [*once, Change(12, "epochs", 2, 4, 0.003)]
    assert last_extension(both) == (12, 0.003)
    assert first_config(longer, both) == first
    # Going back to step 3 lets everything hold from there on.
    assert merge_changes(both, longer, longer, 3, 0.4) == [
        Change(3, "lr", 0.5, 0.1),
        Change(3, "epochs", 2, 4, 0.4),
    ]
    assert merge_changes(once, lower, first, 6, 0.2) == []


def test_a_longer_schedule_is_entered_from_the_rate_reached() -> None:
    rates = np.linspace(1.0, 0.0, 100)
    entered = rewarm(rates, 60, 0.01)
    assert (entered[:60] == rates[:60]).all()
    assert (entered[64:] == rates[64:]).all()
    assert 0.01 < entered[60] < entered[61] < entered[62] < entered[63] < rates[63]
    assert entered[60] == pytest.approx(0.8 * 0.01 + 0.2 * rates[60])


def test_a_run_goes_on_at_another_rate_and_says_so(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = start(world, out, config_of("rob_dino", world, "lr=0.01", "checkpoint_steps=2"))
    for number, _ in enumerate(run.steps(StepClock(run.device)), 1):
        if number == 6:
            run._save(keep=True)
            break
    facts = _train(world, out, "lr=0.001", "betas=[0.5, 0.9]", resume=True)
    assert [(change["step"], change["key"]) for change in facts["changes"]] == [(6, "lr"), (6, "betas")]
    assert json.loads((out / "run.json").read_text())["changes"] == facts["changes"]
    assert "Changed on the way: lr 0.01 -> 0.001 from step 6 on" in (out / "README.md").read_text()
    assert "lr = 0.001" in (out / "config.toml").read_text()
    state = load_checkpoint(out)
    assert state is not None
    assert list(state["updates"]["optimizer"]["param_groups"][0]["betas"]) == [0.5, 0.9]


@pytest.mark.slow
def test_a_finished_run_is_extended_to_the_same_bits_whether_or_not_it_is_interrupted(
    world: Path, tmp_path: Path
) -> None:
    for name in ("straight", "broken"):
        _train(world, tmp_path / name, "epochs=1")
    facts = _train(world, tmp_path / "straight", "epochs=3", resume=True)
    assert facts["steps"] == 18
    (change,) = facts["changes"]
    assert (change["step"], change["key"], change["before"], change["after"]) == (6, "epochs", 1, 3)
    longer = config_of("rob_dino", world, "lr=0.01", "epochs=3")
    for stop in (7, 12, 13):
        run = start(world, tmp_path / "broken", longer, resume=True)
        for _ in run.steps(StepClock(run.device)):
            if run.step == stop:
                run._save(keep=False)
                break
    assert _train(world, tmp_path / "broken", "epochs=3", resume=True)["changes"] == facts["changes"]
    for file in FILES:
        assert (tmp_path / "broken" / file).read_bytes() == (tmp_path / "straight" / file).read_bytes()
    assert _losses(tmp_path / "broken")[-1] == _losses(tmp_path / "straight")[-1]


@pytest.mark.slow
def test_going_back_gives_up_what_came_after(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    _train(world, out, "epochs=3")
    weights, losses = (out / FILES[0]).read_bytes(), _losses(out)
    assert kept_steps(out) == [6, 12, 18]
    with pytest.raises(LowzooError, match="no checkpoint of step 7") as caught:
        _train(world, out, "epochs=3", resume=True, from_step=7)
    assert "0, 6, 12, 16, 18" in caught.value.remedy
    start(world, out, config_of("rob_dino", world, "lr=0.01", "epochs=3"), resume=True, from_step=6)
    assert kept_steps(out) == [6]
    state = load_checkpoint(out)
    assert state is not None
    assert state["step"] == 6
    assert [step for step, _ in _losses(out)] == [6]
    _train(world, out, "epochs=3", resume=True)
    assert (out / FILES[0]).read_bytes() == weights
    _train(world, out, "epochs=3", resume=True, from_step=0)
    assert (out / FILES[0]).read_bytes() == weights
    assert _losses(out) == losses


@pytest.mark.parametrize(
    ("settings", "message"),
    [(["lr=0.5"], "has made all its 12 steps"), (["epochs=1"], "epochs = 1 are 6 steps, and the run has made 12")],
)
def test_what_would_change_nothing_any_more_is_refused(
    settings: list[str], message: str, world: Path, tmp_path: Path
) -> None:
    _train(world, tmp_path)
    before = (tmp_path / "config.toml").read_text()
    with pytest.raises(LowzooError, match=message):
        _train(world, tmp_path, *settings, resume=True)
    assert (tmp_path / "config.toml").read_text() == before


@pytest.mark.slow
def test_resuming_a_finished_run_loses_nothing(world: Path, tmp_path: Path) -> None:
    facts = _train(world, tmp_path)
    assert facts["images_per_s"]
    facts["device"] = "another machine"
    (tmp_path / "run.json").write_text(json.dumps(facts))
    assert _train(world, tmp_path, resume=True) == facts


@pytest.mark.slow
def test_the_last_measurement_is_made_up_for(world: Path, tmp_path: Path) -> None:
    _train(world, tmp_path, "monitor_epochs=2", "epochs=3")
    file = tmp_path / "metrics.jsonl"
    rows = read_metrics(file)
    assert [row["step"] for row in rows if "knn" in row] == [0, 12, 18]
    # As if it had been killed after its last checkpoint.
    file.write_text("".join(json.dumps(row) + "\n" for row in rows[:-1]))
    _train(world, tmp_path, "monitor_epochs=2", "epochs=3", resume=True)
    assert read_metrics(file) == rows


def test_a_state_that_has_diverged_is_never_a_checkpoint(world: Path, tmp_path: Path) -> None:
    config = config_of("rob_dino", world, "guard=false", "checkpoint_steps=2", "monitor_epochs=0")
    run = start(world, tmp_path, config)
    step = run._one_step

    def poisoned(*arguments: object) -> torch.Tensor:
        if run.step == 3:
            with torch.no_grad():
                next(run.student.parameters()).fill_(torch.nan)
        return step(*arguments)  # type: ignore[arg-type]

    run._one_step = poisoned  # type: ignore[method-assign,assignment]
    with pytest.raises(LowzooError, match="no finite numbers any more at step 4") as caught:
        run.train(Progress())
    assert "--resume" in caught.value.remedy
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 2


def test_kept_checkpoints_are_thinned_out_evenly(tmp_path: Path) -> None:
    for step in range(10, 330, 10):
        save_checkpoint(tmp_path, {"step": step, "x": torch.arange(3)})
        keep_checkpoint(tmp_path, step, 4)
        steps = kept_steps(tmp_path)
        assert steps[-1] == step
        assert len(steps) <= 4
        gaps = np.diff([0, *steps])
        assert gaps.max() <= 4 * gaps[:-1].min() if len(gaps) > 1 else True
    state = load_step(tmp_path, steps[0])
    assert state is not None
    assert state["step"] == steps[0]
    go_back(tmp_path, state)
    assert kept_steps(tmp_path) == steps[:1]
    newest = load_checkpoint(tmp_path)
    assert newest is not None
    assert newest["step"] == steps[0]
