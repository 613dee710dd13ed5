"""What a step will need, and in how many parts a batch fits."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import open_set
from lowzoo.train.monitoring.monitor import features_of, images_at_once
from lowzoo.train.networks.encoder import create_student
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs import memory as measured
from lowzoo.train.runs.memory import (
    Memory,
    estimate,
    free_memory,
    kept_for_backward,
    of_teacher,
    taken_memory,
    watching,
)
from lowzoo.train.settings.config import resolve

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("free", "parts"), [(10**12, 1), (200_000, 1), (100_000, 2), (40_000, 4), (20_000, 8), (2_600, 64)]
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


def test_a_view_that_only_the_second_network_sees_keeps_nothing() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.ReLU())

    def kept(method: str) -> int:
        config = resolve((f"sslight_{method}_cnn", "sslight_views_sslight"), settings=["view.global.size=32"])
        views = config.views[:1]
        assert views[0].count == 2
        return kept_for_backward(config.model_copy(update={"views": views}), network, CPU, nullcontext)

    assert kept("dino") == 2 * kept("moco")


def test_what_monitors_keep_is_counted_in_bytes() -> None:
    drawings = open_set(None)
    images, held_out = drawings.open("train"), drawings.open("validation")
    config = _config(32, "monitor_bank=100", "monitor_queries=40")
    square = 3 * 32 * 32
    assert watching(config, images, held_out) == square * (100 + 40 + 3 * len(held_out))
    assert watching(config.model_copy(update={"monitor_epochs": 0}), images, held_out) == 0
    unlabelled = replace(images, labels=None)
    assert watching(config, unlabelled, held_out) == square * 3 * len(held_out)
    assert watching(config, unlabelled, None) == square * 3 * 400


@pytest.mark.filterwarnings("error")
def test_tensors_without_data_are_counted_like_others() -> None:
    from torch._subclasses import FakeTensorMode

    config = resolve("seed", settings=["view.global.size=32"])
    with FakeTensorMode():
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.ReLU())
        assert kept_for_backward(config, network, CPU, nullcontext) == 4 * 3 * 32 * 32 * (2 + 2)


def test_a_teacher_that_needs_more_than_the_student_is_counted() -> None:
    config = _config(32, "teacher_size=64")
    wide = torch.nn.Sequential(torch.nn.Conv2d(3, 500, 1), torch.nn.ReLU())
    views = config.views[0].count
    assert of_teacher(config, wide) == 4 * 64 * 64 * (500 + 500) * views
    assert wide.training, "it is left as it was"
    student = create_student(config)
    alone, taught = (estimate(config, student, 1024, CPU, nullcontext, teacher) for teacher in (None, wide))
    assert taught.per_image > alone.per_image
    narrow = torch.nn.Conv2d(3, 1, 1)
    assert estimate(config, student, 1024, CPU, nullcontext, narrow).per_image == alone.per_image


def test_an_estimate_begins_at_what_is_taken_and_grows_with_the_batch() -> None:
    config = _config(32)
    memory = estimate(config, create_student(config), 1024, CPU, nullcontext)
    free = free_memory(CPU)
    assert free is None or free > 0
    assert memory.peak(0) >= taken_memory(CPU)
    assert memory.peak(64) - memory.peak(32) == 32 * memory.per_image > 0


GB = 10**9


@pytest.mark.parametrize(
    ("group", "address_space", "workers", "processes", "free"),
    [
        (None, None, 0, 1, 100 * GB),
        (40 * GB, None, 0, 1, 40 * GB),
        (300 * GB, 70 * GB, 0, 1, 70 * GB),
        (0, None, 0, 1, 0),
        (40 * GB, None, 2, 1, 40 * GB - 2 * measured.WORKER_BYTES),
        # Each process has workers of its own, and the limit of one is not that of the others.
        (40 * GB, None, 2, 4, 10 * GB - 2 * measured.WORKER_BYTES),
        (40 * GB, 12 * GB, 0, 4, 10 * GB),
        (40 * GB, 8 * GB, 0, 4, 8 * GB),
        (measured.WORKER_BYTES, None, 2, 1, 0),
    ],
)
def test_the_tightest_limit_holds(group, address_space, workers, processes, free, monkeypatch) -> None:
    monkeypatch.setattr(measured.psutil, "virtual_memory", lambda: SimpleNamespace(available=100 * GB))
    monkeypatch.setattr(measured, "memory_left", lambda: group)
    monkeypatch.setattr(measured, "_address_space_left", lambda: address_space)
    assert free_memory(CPU, workers, processes) == free
    assert free_memory(torch.device("mps")) is None


def test_a_limit_of_address_space_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Process:
        limit = 50

        def rlimit(self, which: int) -> tuple[int, int]:
            assert which == 9
            return self.limit, -1

        def memory_info(self) -> SimpleNamespace:
            return SimpleNamespace(vms=20)

    monkeypatch.setattr(measured.psutil, "RLIMIT_AS", 9, raising=False)
    monkeypatch.setattr(measured.psutil, "RLIM_INFINITY", -1, raising=False)
    monkeypatch.setattr(measured.psutil, "Process", Process)
    assert measured._address_space_left() == 30
    monkeypatch.setattr(Process, "limit", -1)
    assert measured._address_space_left() is None
    monkeypatch.delattr(measured.psutil, "RLIMIT_AS")
    monkeypatch.setattr(Process, "limit", 50)
    assert measured._address_space_left() is None


def test_large_images_go_through_a_network_a_few_at_once_on_a_cpu() -> None:
    assert [images_at_once(side, CPU) for side in (32, 64, 128, 224, 1024)] == [128, 128, 32, 10, 1]
    assert images_at_once(224, torch.device("cuda")) == 128
    seen = []
    network = torch.nn.Flatten()
    network.register_forward_hook(lambda _, __, out: seen.append(len(out)))
    features = features_of(network, torch.zeros(33, 3, 128, 128, dtype=torch.uint8), CPU, nullcontext)
    assert (seen, len(features)) == ([32, 1], 33)


def test_what_does_not_fit_in_the_smallest_parts_is_refused() -> None:
    memory = Memory(fixed=50_000, per_image=2_000)
    with pytest.raises(LowzooError, match=r"even with 1 image at once") as caught:
        memory.parts(64, 1_000, taken=50_000)
    assert "view.global.size" in caught.value.remedy
    # Beyond the share that is left for others, but within what there is.
    assert memory.parts(64, 2_100, taken=50_000) == 64
    assert memory.parts(64, 8_000, taken=50_000, least=2) == 32
    with pytest.raises(LowzooError, match=r"even with 2 images at once"):
        memory.parts(64, 3_000, taken=50_000, least=2)
    assert memory.parts(1, 2_100, taken=50_000, least=2) == 1
