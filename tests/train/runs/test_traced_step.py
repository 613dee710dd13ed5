"""The cost of a step on a GPU, traced before the run, is that of the run's own steps on a device that is not there."""

from pathlib import Path

import pytest
import torch

from lowzoo.data.source import open_source
from lowzoo.train.networks.encoder import create_student
from lowzoo.train.optim.updates import precision_of
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs.memory import Memory
from lowzoo.train.runs.traced_step import StepCost, memory_on_gpu, traced_step
from lowzoo.train.teachers.of_run import create_teacher
from tests.helpers.device_trace import ON_GPU, traced_steps
from tests.helpers.slow import slow_but
from tests.helpers.train import config_of


def _cost(config: TrainConfig, world: Path, images: int) -> StepCost:
    source = open_source(world)
    precision, autocast = precision_of(config, torch.device("cuda"))
    teacher, student = create_teacher(config, source), create_student(config)
    before = [value.clone() for value in student.state_dict().values()]
    found = traced_step(config, student, teacher, source, precision, autocast, images)
    assert all(torch.equal(a, b) for a, b in zip(before, student.state_dict().values(), strict=True))
    assert all(value.device.type == "cpu" for value in (*student.state_dict().values(), *before))
    return found


@pytest.mark.parametrize("method", slow_but(["rob_ibot", "seed", "sslight_moco"], ()))
def test_it_is_the_cost_of_the_steps_of_the_run(
    method: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The estimate that the traced run makes for itself would be a part of its peak.
    monkeypatch.setattr("lowzoo.train.runs.accumulation.free_memory", lambda *_: None)
    config = config_of(method, world, *ON_GPU, "batch_size=8")
    cost = _cost(config, world, 8)
    trace = traced_steps(world, tmp_path / "run", config, steps=1)
    assert cost.flops == pytest.approx(trace.flops, rel=0.02)
    assert cost.memory.peak(8) == pytest.approx(trace.peak, rel=0.05)
    assert 0 <= cost.memory.per_image < cost.memory.peak(8)


@pytest.mark.slow
def test_views_ahead_are_counted(world: Path) -> None:
    beside, ahead = (
        config_of("sslight_dino", world, *ON_GPU, "batch_size=8", f"ahead={word}") for word in ("false", "true")
    )
    cost = _cost(ahead, world, 8)
    views = sum(8 * group.count * 3 * group.size**2 * 4 for group in ahead.views)
    more = cost.memory.peak(8) - _cost(beside, world, 8).memory.peak(8)
    assert more == pytest.approx(views, rel=0.1)


@pytest.mark.slow
def test_a_larger_batch_takes_what_two_smaller_ones_say(world: Path) -> None:
    config = config_of("rob_dino", world, *ON_GPU)
    small, large = _cost(config, world, 32), _cost(config, world, 128)
    assert small.memory.peak(128) == pytest.approx(large.memory.peak(128), rel=0.05)
    assert large.flops == pytest.approx(4 * small.flops, rel=0.05)


def test_a_network_that_cannot_be_traced_is_said(world: Path) -> None:
    class Odd(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no such kernel")

    config, source = config_of("sslight_dino", world, *ON_GPU), open_source(world)
    said: list[str] = []
    precision, autocast = precision_of(config, torch.device("cuda"))
    given = (config, Odd(1, 1), None, source, torch.device("cpu"), precision, autocast, 4, said.append)
    assert memory_on_gpu(*given) is None
    assert "no such kernel" in said[0]


def test_what_the_process_has_there_already_is_added(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lowzoo.train.runs.traced_step as module

    monkeypatch.setattr(module, "traced_step", lambda *_: StepCost(1, 2, Memory(100, 10)))
    monkeypatch.setattr(module, "taken_memory", lambda _: 7)
    config, source = config_of("sslight_dino", world, *ON_GPU), open_source(world)
    precision, autocast = precision_of(config, torch.device("cuda"))
    given = (config, create_student(config), None, source, torch.device("cpu"), precision, autocast, 4, print)
    assert memory_on_gpu(*given) == Memory(107, 10)
