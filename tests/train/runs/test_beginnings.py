"""What a run begins with is what it says, in a folder where another was refused or killed, and when it goes on."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from lowzoo.base.errors import LowzooError
from lowzoo.train.monitoring.progress import Progress, StepClock
from lowzoo.train.runs.loop import Run
from tests.helpers.train import config_of, make_pictures, start


def _to_step(run: Run, step: int) -> None:
    for _ in run.steps(StepClock(run.device)):
        if run.step == step:
            run._save(keep=False)
            return


def test_what_a_refused_start_left_is_not_taken_for_ones_own(world: Path, tmp_path: Path) -> None:
    (tmp_path / "init.json").write_text(json.dumps({"name": "somebody's weights"}))
    (tmp_path / "teacher_head.safetensors").write_bytes(b"of other images")
    result = start(world, tmp_path, config_of("rob_dino", world, "steps=2")).train(Progress())
    assert result is not None
    assert result.facts["init"] is None
    assert not (tmp_path / "teacher_head.safetensors").exists()
    assert "somebody" not in (tmp_path / "README.md").read_text()


def test_a_run_does_not_go_on_with_another_teacher(tmp_path: Path) -> None:
    world = make_pictures(tmp_path / "world")
    config = config_of("rob_dino", world, "steps=4")
    out = tmp_path / "run"
    _to_step(start(world, out, config), 2)
    start(world, out, config, resume=True)
    teacher = next(world.glob("teacher_*")) / "model.safetensors"
    weights = load_file(teacher)
    save_file({name: value + 0.01 for name, value in weights.items()}, teacher, metadata={"format": "pt"})
    with pytest.raises(LowzooError, match="has other weights now"):
        start(world, out, config, resume=True)


def test_it_is_said_where_the_teacher_is_no_longer_asked_as_before(world: Path, tmp_path: Path) -> None:
    config = config_of("rob_dino", world, "steps=4", "view_epochs=2")
    out, cache, said = tmp_path / "run", tmp_path / "cache", list[str]()
    _to_step(start(world, out, config, cache=cache), 2)
    start(world, out, config, resume=True, cache=cache, say=said.append)
    assert not any("not to the same bits" in line for line in said)
    start(world, out, config, resume=True, say=said.append)
    assert "What the teacher says is computed from here on, as it was not before: not to the same bits" in said
