"""Where shared memory is small, batches take another way and are the same."""

import multiprocessing
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from lowzoo.data.source import open_source
from lowzoo.features.inputs import InputDataset, input_loader
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.system import shared_memory
from lowzoo.train.data.batches import EpochBatches
from lowzoo.train.data.dataset import ViewDataset, make_loader
from tests.helpers.train import config_of, make_pictures

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shared_memory, "_PLACE", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(64 << 20, 63 << 20, 1 << 20))


def test_what_fits_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 30, 0, 1 << 30))
    said: list[str] = []
    assert shared_memory.plan_workers(1 << 20, 8, said.append) == (8, False)
    assert shared_memory.plan_workers(1 << 40, 0, said.append) == (0, False)
    assert said == []


@pytest.mark.usefixtures("small")
def test_several_processes_share_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(64 << 20, 0, 64 << 20))
    said: list[str] = []
    assert shared_memory.plan_workers(4 << 20, 2, said.append) == (2, False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert shared_memory.plan_workers(4 << 20, 2, said.append) == (2, True)
    assert len(said) == 1
    assert "has 67 MB free and data workers need 109 MB" in said[0]


def test_without_locks_there_are_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(multiprocessing, "Lock", fail)
    said: list[str] = []
    assert shared_memory.plan_workers(1, 2, said.append) == (0, False)
    assert "without data workers" in said[0]


def _views(world: Path, workers: int, said: list[str]) -> list[object]:
    config = config_of("rob_dino", world)
    dataset = ViewDataset(open_source(world), config.views, 0)
    loader = make_loader(dataset, EpochBatches(24, 8, 1, 0), workers=workers, pin=False, say=said.append)
    return [(batch.indices.clone(), [crops.clone() for crops in batch.crops], batch.lease) for batch in loader]


@pytest.mark.usefixtures("small")
def test_views_through_pipes_are_the_same(tmp_path: Path) -> None:
    world, said = make_pictures(tmp_path / "world"), []
    there = _views(world, 0, said)
    assert said == []
    through = _views(world, 2, said)
    assert len(said) == 1
    assert len(there) == len(through) == 3
    for (indices, crops, _), (other, others, lease) in zip(there, through, strict=True):
        assert torch.equal(indices, other)
        assert all(torch.equal(a, b) for a, b in zip(crops, others, strict=True))
        assert lease is None


@pytest.mark.usefixtures("small")
def test_inputs_through_pipes_are_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = open_source(make_pictures(tmp_path / "world"))
    spec = Preprocessing((3, 256, 256), (0.5,) * 3, (0.5,) * 3, "bicubic", 1.0)
    batches = [range(0, 16), range(16, 24)]
    here, through = (
        list(input_loader(InputDataset(source, spec), batches, workers=workers, device="cpu")) for workers in (0, 2)
    )
    for one, other in zip(here, through, strict=True):
        assert np.array_equal(one.pixels.numpy(), other.pixels.numpy())
        assert torch.equal(one.kept, other.kept)
    assert capsys.readouterr().err.count("batches go through pipes") == 1
