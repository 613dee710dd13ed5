"""Whole runs on a tiny student: what they leave, how they go on after a kill, what they refuse."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import open_source
from lowzoo.train.heads import WeightNormLinear
from lowzoo.train.monitoring.metrics import read_metrics
from lowzoo.train.monitoring.progress import Progress, StepClock
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs.checkpoint import load_checkpoint, save_checkpoint
from lowzoo.train.runs.loop import Run
from lowzoo.train.settings.changes import changed_keys
from lowzoo.train.settings.config import resolve
from tests.helpers.train import SETTINGS


def settings_of(taught: Path, *more: str) -> list[str]:
    return [*SETTINGS, f"teacher={taught / 'teacher'}", "epochs=3", *more]


def config_of(taught: Path, *more: str) -> TrainConfig:
    return resolve("rob_dino", settings=settings_of(taught, *more))


def start(taught: Path, out: Path, config: TrainConfig, *, resume: bool = False) -> Run:
    data = taught / "pictures"
    return Run(config, open_source(data), open_source(data, "validation"), out, resume=resume)


def test_a_run_leaves_everything_that_its_folder_promises(taught: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = start(taught, out, config_of(taught))
    frozen = {key: value.clone() for key, value in run.teacher.teacher.state_dict().items()}
    run.teacher.teacher.train()
    result = run.train(Progress())
    assert all(torch.equal(value, frozen[key]) for key, value in run.teacher.teacher.state_dict().items())
    assert not run.teacher.teacher.training
    rows = read_metrics(out / "metrics.jsonl")
    assert [row["step"] for row in rows if "knn" in row] == [0, 6, 12, 18]
    assert [row["step"] for row in rows if "loss" in row] == [6, 10, 12, 18]
    assert {"images_per_s", "data_wait", "teacher_share", "lr"} <= rows[1].keys()
    assert result.loss == rows[-2]["loss"]
    facts = json.loads((out / "run.json").read_text())
    assert facts["teacher"]["head"] == "own (dino)"
    assert not facts["teacher"]["extension"]
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    saved = load_file(out / "model.safetensors")
    assert all(torch.equal(value, saved[key]) for key, value in run.student.backbone.state_dict().items())
    model = timm.create_model(f"local-dir:{out}", pretrained=True, num_classes=0).eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(images), run.student.backbone.eval()(images), atol=1e-4, rtol=1e-4)


def test_a_frozen_teacher_normalises_its_prototypes_once(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(taught, tmp_path / "run", config_of(taught))
    layers: list[WeightNormLinear] = []
    normalised = WeightNormLinear._normalised
    monkeypatch.setattr(WeightNormLinear, "_normalised", lambda layer: layers.append(layer) or normalised(layer))
    next(run.steps(StepClock(run.device)))
    assert layers == [run.student.head.last_layer]


@pytest.mark.slow
def test_a_finished_run_can_be_the_teacher_of_the_next(taught: Path, tmp_path: Path) -> None:
    start(taught, tmp_path / "first", config_of(taught, "epochs=1")).train(Progress())
    second = config_of(taught, f"teacher={tmp_path / 'first'}", "epochs=1", "monitor_epochs=0")
    result = start(taught, tmp_path / "second", second).train(Progress())
    assert result.facts["teacher"]["prototypes"] == 24
    assert result.knn is None


def test_fitted_head_is_labelled_and_kept(taught: Path, tmp_path: Path) -> None:
    fitted = ["loss=msn", "teacher_head=fitted", "prototypes=12", "fitted_bottleneck=8", "teacher_prototypes=true"]
    result = start(taught, tmp_path / "run", config_of(taught, *fitted, "epochs=1")).train(Progress())
    assert result.facts["teacher"]["extension"]
    assert "an extension of the paper" in result.facts["teacher"]["head"]
    assert "extension" in (tmp_path / "run" / "README.md").read_text()
    assert (tmp_path / "run" / "teacher_head.safetensors").is_file()


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(taught: Path, tmp_path: Path) -> None:
    whole = start(taught, tmp_path / "whole", config_of(taught, "drop_path=0.2", "patch_drop=0.25")).train(Progress())
    killed = tmp_path / "killed"
    settings = settings_of(taught, "drop_path=0.2", "patch_drop=0.25")
    words = ["train", "rob", "--preset", "rob_dino", "--data", str(taught / "pictures"), "--out", str(killed)]
    words += [word for setting in settings for word in ("--set", setting)]
    code = f"from lowzoo.cli.main import main; main({words!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not (killed / "checkpoint.pt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    state = load_checkpoint(killed)
    assert state is not None
    assert 0 < state["step"] < 18
    resumed = start(taught, killed, config_of(taught, "drop_path=0.2", "patch_drop=0.25"), resume=True).train(
        Progress()
    )
    for file in ("model.safetensors", "head.safetensors"):
        assert (killed / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert resumed.loss == whole.loss
    steps = [row["step"] for row in read_metrics(killed / "metrics.jsonl") if "loss" in row]
    assert steps == sorted(set(steps))


def test_the_checkpoint_before_the_last_serves_when_the_last_is_damaged(tmp_path: Path) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, {"step": step, "x": torch.arange(1000)})
    newest = tmp_path / "checkpoint.pt"
    newest.write_bytes(newest.read_bytes()[:500])
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 1
    (tmp_path / "checkpoint.previous.pt").write_bytes(b"no")
    with pytest.raises(LowzooError, match="no checkpoint in"):
        load_checkpoint(tmp_path)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"step": 1, "x": Harmful()}, tmp_path / "checkpoint.pt")
    with pytest.raises(LowzooError, match="no checkpoint in"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_a_full_disk_costs_neither_the_run_nor_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, {"step": 1})
    real = torch.save
    monkeypatch.setattr(torch, "save", lambda state, _: real(state, "/dev/full"))
    with pytest.raises(LowzooError, match="cannot write"):
        save_checkpoint(tmp_path, {"step": 2, "x": torch.zeros(100_000)})
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt"]


def test_resuming_with_settings_of_another_run_names_them(taught: Path, tmp_path: Path) -> None:
    from lowzoo.train.command import TrainArgs, run_training

    out = tmp_path / "run"
    start(taught, out, config_of(taught, "epochs=1")).train(Progress())

    def words(*settings: str, resume: bool, layers: tuple[str, ...] = ("rob_dino",)) -> TrainArgs:
        chosen = settings_of(taught, *settings)
        return TrainArgs("rob", layers, str(taught / "pictures"), settings=chosen, out=out, resume=resume)

    with pytest.raises(LowzooError, match="other values of batch_size, seed"):
        run_training(words("lr=0.5", "seed=2", "batch_size=8", resume=True), print)
    with pytest.raises(LowzooError, match=r"other values of .*loss.* than preset rob_dino \+ rob_msn"):
        run_training(words("epochs=1", resume=True, layers=("rob_dino", "rob_msn")), print)
    with pytest.raises(LowzooError, match="already holds a run") as caught:
        run_training(words("epochs=1", resume=False), print)
    assert "--from 0" in caught.value.remedy


def test_what_changes_the_rounding_alone_may_change_on_resume(taught: Path) -> None:
    assert changed_keys(config_of(taught), config_of(taught, "onednn=true", "workers=1")) == []
    assert changed_keys(config_of(taught), config_of(taught, "precision=bf16")) == ["precision"]
