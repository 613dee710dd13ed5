"""What a step will need, and in how many parts a batch fits."""

from contextlib import nullcontext

import pytest
import torch

from lowzoo.train.networks.encoder import create_student
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs.memory import Memory, estimate, free_memory, kept_for_backward, taken_memory
from lowzoo.train.settings.config import resolve

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("free", "parts"), [(10**12, 1), (200_000, 1), (100_000, 2), (40_000, 4), (20_000, 8), (10, 64)]
)
def test_a_batch_is_divided_into_as_few_parts_as_fit(free: int, parts: int) -> None:
    memory = Memory(fixed=50_000, per_image=2_000)
    assert memory.parts(64, free, taken=50_000) == parts
    assert memory.peak(64) == 178_000


def test_parts_divide_the_batch() -> None:
    assert Memory(0, 10).parts(15, free=100, taken=0) == 3


def _config(size: int, *more: str) -> TrainConfig:
    settings = [f"view.global.size={size}", "view.local.size=32", "student=resnet18", *more]
    return resolve("rob_dino", settings=settings)


def test_larger_and_more_views_keep_more() -> None:
    small, large, many = _config(32), _config(64), _config(32, "view.local.count=16")
    network = create_student(small)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    kept = [kept_for_backward(config, network, CPU, nullcontext) for config in (small, large, many)]
    assert kept[0] < kept[1]
    assert kept[0] < kept[2]
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert network.training


def test_what_a_layer_keeps_is_counted_in_bytes() -> None:
    config = resolve("seed", settings=["view.global.size=32"])
    # ReLU keeps its output: 3 x 32 x 32 floats, with two more for the gradients beside it.
    assert kept_for_backward(
        config, torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.ReLU()), CPU, nullcontext
    ) == (4 * 3 * 32 * 32 * (2 + 2))


@pytest.mark.filterwarnings("error")
def test_tensors_without_data_are_counted_like_others() -> None:
    from torch._subclasses import FakeTensorMode

    config = resolve("seed", settings=["view.global.size=32"])
    with FakeTensorMode():
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.ReLU())
        assert kept_for_backward(config, network, CPU, nullcontext) == 4 * 3 * 32 * 32 * (2 + 2)


def test_an_estimate_begins_at_what_is_taken_and_grows_with_the_batch() -> None:
    config = _config(32)
    memory = estimate(config, create_student(config), 1024, CPU, nullcontext)
    free = free_memory(CPU)
    assert free is None or free > 0
    assert memory.peak(0) >= taken_memory(CPU)
    assert memory.peak(64) - memory.peak(32) == 32 * memory.per_image > 0
