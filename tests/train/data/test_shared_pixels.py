"""Memory that workers lend: used again once given back, and never before."""

from collections.abc import Iterator

import pytest
import torch
from PIL import Image

from lowzoo.data.source import ImageSource, open_source
from lowzoo.train.data.dataset import EpochBatches, ViewBatch, ViewDataset, make_loader
from lowzoo.train.data.shared_pixels import SharedPixels
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


def test_beyond_the_most_blocks_memory_is_fresh_and_nobody_lends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowzoo.train.data.shared_pixels.get_worker_info", lambda: "a worker")
    memory = SharedPixels(most=2)
    taken = [memory.take([(4,)]) for _ in range(4)]
    assert [lease.block if lease else None for _, lease in taken] == [0, 1, None, None]
    assert len({pixels.data_ptr() for (pixels,), _ in taken}) == 4


def test_a_block_serves_again_for_the_same_shapes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowzoo.train.data.shared_pixels.get_worker_info", lambda: "a worker")
    memory = SharedPixels()
    (first,), lease = memory.take([(4,)])
    assert lease is not None
    lease.release()
    (other,), _ = memory.take([(5,)])
    (again,), second = memory.take([(4,)])
    assert (again.data_ptr(), other.shape) == (first.data_ptr(), (5,))
    # The block is another batch's now, and who had it before cannot give it away.
    lease.release()
    assert second is not None
    assert memory.take([(4,)])[0][0].data_ptr() != again.data_ptr()


def test_page_locked_memory_frees_the_block(pictures: ImageSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    plain = [[crops.clone() for crops in batch.crops] for batch in batches(pictures, 0)]
    blocks = set()
    for batch, wanted in zip(batches(pictures, 1), plain, strict=True):
        assert batch.lease is not None
        blocks.add(batch.lease.block)
        pinned = batch.pin_memory()
        assert (pinned.lease, batch.crops) == (None, [])
        assert all(torch.equal(crops, want) for crops, want in zip(pinned.crops, wanted, strict=True))
    assert len(blocks) <= 6


def test_without_a_worker_nobody_lends() -> None:
    memory = SharedPixels()
    (first,), lease = memory.take([(2, 3)])
    (second,), _ = memory.take([(2, 3)])
    assert lease is None
    assert (first.shape, first.dtype) == ((2, 3), torch.uint8)
    assert first.data_ptr() != second.data_ptr()
