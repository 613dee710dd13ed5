"""Memory that workers lend: used again once given back, and never before."""

from collections.abc import Iterator

import pytest
import torch
from PIL import Image

from lowzoo.data.source import ImageSource, open_source
from lowzoo.train.dataset import EpochBatches, ViewBatch, ViewDataset, make_loader
from lowzoo.train.shared_pixels import SharedPixels
from lowzoo.train.views import ViewGroup

GROUPS = (
    ViewGroup(name="global", count=2, size=32, scale=(0.25, 1.0)),
    ViewGroup(name="local", count=1, size=16, scale=(0.05, 0.25)),
)
STEPS = 40


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> ImageSource:
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(8):
        Image.effect_noise((40, 40), 20 * index + 5).convert("RGB").save(folder / f"{index}.png")
    return open_source(folder)


def batches(source: ImageSource, workers: int) -> Iterator[ViewBatch]:
    plan = EpochBatches(len(source), 4, epochs=STEPS // 2, seed=1)
    return iter(make_loader(ViewDataset(source, GROUPS, 1), plan, workers=workers, pin=False))


@pytest.mark.parametrize("workers", [1, 2])
def test_blocks_that_are_given_back_serve_again(pictures: ImageSource, workers: int) -> None:
    plain = [[crops.clone() for crops in batch.crops] for batch in batches(pictures, 0)]
    blocks = set()
    for batch, wanted in zip(batches(pictures, workers), plain, strict=True):
        assert all(torch.equal(crops, want) for crops, want in zip(batch.crops, wanted, strict=True))
        assert batch.lease is not None
        blocks.add(batch.lease.block)
        batch.release()
        assert batch.crops == []
    # Four batches are fetched ahead by a worker, one is read, and the next may be asked for before that is given back.
    assert len(plain) == STEPS
    assert len(blocks) <= 6


def test_blocks_that_are_kept_are_never_overwritten(pictures: ImageSource) -> None:
    plain = list(batches(pictures, 0))
    kept = list(batches(pictures, 1))
    assert sorted(batch.lease.block for batch in kept if batch.lease) == list(range(STEPS))
    for ours, theirs in zip(plain, kept, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours.crops, theirs.crops, strict=True))


def test_more_blocks_than_there_are_numbers_for(pictures: ImageSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowzoo.train.shared_pixels._BLOCKS", 3)
    kept = list(batches(pictures, 1))
    assert [batch.lease.block if batch.lease else None for batch in kept] == [0, 1, 2, *[None] * (STEPS - 3)]
    for ours, theirs in zip(batches(pictures, 0), kept, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours.crops, theirs.crops, strict=True))


def test_without_a_worker_nobody_lends() -> None:
    memory = SharedPixels()
    (first,), lease = memory.take([(2, 3)])
    (second,), _ = memory.take([(2, 3)])
    assert lease is None
    assert (first.shape, first.dtype) == ((2, 3), torch.uint8)
    assert first.data_ptr() != second.data_ptr()
