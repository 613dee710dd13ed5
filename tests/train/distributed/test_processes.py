"""Two processes with half the batch each train as one with the whole batch, whatever the method."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lowzoo.train.distributed import processes as distributed
from lowzoo.train.distributed.collectives import all_reduce_sum, world_size
from lowzoo.train.monitoring.progress import StepClock
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs.loop import Run
from tests.helpers.forked_processes import run_to_the_end
from tests.helpers.train import METHODS, config_of, make_pictures, make_teacher, start

STEPS = 20
# `test_vit` has no batch norm, the ResNet synchronises its own, which is the same whatever the method: one that has a
# teacher's scores, one with a queue, one with momentum.
PAIRS = [(method, "test_vit") for method in METHODS]
PAIRS += [(method, "test_resnet") for method in ("rob_dino", "seed", "sslight_dino")]
# With a map into another model's space.
PAIRS += [("sslight_moco", "test_vit+map")]


def _config(method: str, student: str, world: Path) -> TrainConfig:
    # Queues begin to count, last layers to move and temperatures to settle within the 20 steps.
    network, plus, _ = student.partition("+")
    if plus and not (world / "teacher_dino").exists():
        make_teacher(world / "teacher_dino")
    more = [f"student={network}", "sync_bn=true", "batch_size=8", "epochs=7", "monitor_epochs=0", "lr=0.01"]
    more += [f"compatible_with={world / 'teacher_dino'}"] if plus else []
    return config_of(method, world, *more, "positions=timm", "drop_path=0", "patch_drop=0")


def _follow(run: Run) -> dict[str, Any]:
    losses = []
    for loss in run.steps(StepClock(run.device)):
        losses.append(float(all_reduce_sum(loss) / world_size()))
        if len(losses) == STEPS:
            break
    return {"losses": losses, "method": run.method.state_dict()}


def _train_all(configs: dict[str, TrainConfig], world: Path, out: Path) -> None:
    # In fp64, as the rounding of fp32 differs between one process and two, and training amplifies it.
    torch.set_default_dtype(torch.float64)
    found = {name: _follow(start(world, out / name, config)) for name, config in configs.items()}
    if distributed.is_main():
        torch.save(found, out / "found.pt")


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Any]]]:
    world = make_pictures(tmp_path_factory.mktemp("world"))
    configs = {f"{method}-{student}": _config(method, student, world) for method, student in PAIRS}
    found = []
    for processes in (1, 2):
        out = tmp_path_factory.mktemp(f"out{processes}")
        run_to_the_end(processes, _train_all, configs, world, out)
        found.append(torch.load(out / "found.pt"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("method", "student"), PAIRS)
def test_two_processes_with_half_the_batch_equal_one(
    method: str, student: str, one_and_two: list[dict[str, dict[str, Any]]]
) -> None:
    one, two = (found[f"{method}-{student}"] for found in one_and_two)
    assert len(one["losses"]) == STEPS
    assert max(one["losses"]) - min(one["losses"]) > 1e-3, "nothing was learned that could differ"
    assert two["losses"] == pytest.approx(one["losses"], abs=1e-5)
    assert two["method"].keys() == one["method"].keys()
    for key, value in one["method"].items():
        torch.testing.assert_close(two["method"][key], value, atol=1e-5, rtol=1e-4, msg=key)
