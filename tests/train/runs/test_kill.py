"""A run that is killed at a random moment goes on to the same bits, alone and in two processes."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from lowzoo.base.errors import LowzooError
from lowzoo.train.monitoring.metrics import read_metrics
from lowzoo.train.monitoring.progress import Progress
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs import checkpoint
from tests.helpers.forked_processes import run_to_the_end, start_processes
from tests.helpers.train import config_of, start

FILES = ("model.safetensors", "head.safetensors")
# One objective of each recipe, two of them with a queue.
RECIPES = ["rob_msn", "seed", "sslight_moco"]


def _config(method: str, world: Path) -> TrainConfig:
    """12 steps in 2 epochs, a checkpoint every second one."""
    return config_of(method, world, "monitor_epochs=0", "drop_path=0.1")


def _train(config: TrainConfig, world: Path, out: Path, resume: bool = False) -> None:
    start(world, out, config, resume=resume).train(Progress())


def _losses(folder: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in read_metrics(folder / "metrics.jsonl")]


def _is_the_same(folder: Path, whole: Path) -> bool:
    same = all((folder / file).read_bytes() == (whole / file).read_bytes() for file in FILES)
    return same and _losses(folder) == _losses(whole)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "processes"), [*((method, 1) for method in RECIPES), ("seed", 2)])
def test_a_run_killed_at_a_random_moment_resumes_to_the_same_bits(
    method: str, processes: int, world: Path, tmp_path: Path
) -> None:
    config = _config(method, world)
    started = time.monotonic()
    run_to_the_end(processes, _train, config, world, tmp_path / "whole")
    duration, out = time.monotonic() - started, tmp_path / "killed"
    delays = [random.uniform(0.2, 1) * duration for _ in range(2)]
    reached = []
    for delay in delays:
        running = start_processes(processes, _train, config, world, out, (out / "config.toml").exists())
        time.sleep(delay)
        for process in running:
            process.kill()
            process.join()
        reached.append((checkpoint.load_checkpoint(out) or {}).get("step", 0))
    run_to_the_end(processes, _train, config, world, out, (out / "config.toml").exists())
    assert _is_the_same(out, tmp_path / "whole"), f"killed after {delays} s, at steps {reached}"


def _die_while_saving(where: str, config: TrainConfig, world: Path, out: Path) -> None:
    """Kill this process in the middle of its third checkpoint, which is that of step 6."""
    saves, save, replace = [0], torch.save, Path.replace

    def half(state: dict[str, object], path: Path) -> None:
        saves[0] += 1
        save(state, path)
        if saves[0] == 3 and where == "in the file":
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def dying(self: Path, target: Path) -> Path:
        if saves[0] == 3 and where == "before the new one is in place" and self.name == ".checkpoint.new.pt":
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    torch.save, Path.replace = half, dying  # type: ignore[method-assign]
    _train(config, world, out)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["in the file", "before the new one is in place"])
def test_a_kill_while_a_checkpoint_is_written_costs_no_more_than_its_steps(
    where: str, world: Path, tmp_path: Path
) -> None:
    config, out = _config("sslight_moco", world), tmp_path / "killed"
    run_to_the_end(1, _train, config, world, tmp_path / "whole")
    (process,) = start_processes(1, _die_while_saving, where, config, world, out)
    process.join(100)
    assert process.exitcode == -signal.SIGKILL
    state = checkpoint.load_checkpoint(out)
    assert state is not None
    assert state["step"] == 4
    run_to_the_end(1, _train, config, world, out, True)
    assert _is_the_same(out, tmp_path / "whole")
    assert not [file.name for file in out.iterdir() if file.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_a_disk_that_fills_up_ends_the_run_with_a_remedy_and_costs_no_bit(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config("seed", world)
    _train(config, world, tmp_path / "whole")
    save, saves = torch.save, []

    def full(state: dict[str, object], path: Path) -> None:
        saves.append(path)
        save(state, "/dev/full" if len(saves) == 3 else path)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(LowzooError, match=r"cannot write .*checkpoint") as caught:
            _train(config, world, tmp_path / "full")
    assert "Free some space" in caught.value.remedy
    assert json.loads((tmp_path / "full" / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 6
    _train(config, world, tmp_path / "full", resume=True)
    assert _is_the_same(tmp_path / "full", tmp_path / "whole")
