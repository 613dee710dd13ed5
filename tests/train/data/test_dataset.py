"""What a step sees: the same images for any number of processes and micro-batches, whatever is broken among them."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.decode import Rules, decode_rgb
from lowzoo.data.source import ImageSource, open_source
from lowzoo.train.data.bad_images import BadImageLog
from lowzoo.train.data.dataset import EpochBatches, SampleCounter, ViewBatch, ViewDataset, check_source, make_loader
from lowzoo.train.views import ViewGroup, crop_views, sample_params

GROUPS = (
    ViewGroup(name="global", count=2, size=32, scale=(0.25, 1.0), blur=(0.5,)),
    ViewGroup(name="local", count=3, size=16, scale=(0.05, 0.25)),
)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(seed: int, height: int = 20, width: int = 24) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> ImageSource:
    """24 pictures; 3, 10 and 11 are broken."""
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(24):
        data = b"no picture" if index in (3, 10, 11) else encode(noise(index))
        (folder / f"{index:02}.png").write_bytes(data)
    return open_source(folder)


def views_of(source: ImageSource, workers: int = 0, **sharing: int) -> list[ViewBatch]:
    batches = EpochBatches(len(source), 8, epochs=2, seed=7, **sharing)
    return list(make_loader(ViewDataset(source, GROUPS, 7), batches, workers=workers, pin=False))


def same(left: ViewBatch, right: ViewBatch) -> bool:
    return (
        all(torch.equal(a, b) for a, b in zip(left.crops, right.crops, strict=True))
        and torch.equal(left.photometric, right.photometric)
        and torch.equal(left.indices, right.indices)
        and torch.equal(left.records, right.records)
    )


def joined(batches: list[ViewBatch]) -> ViewBatch:
    return ViewBatch(
        [torch.cat(crops) for crops in zip(*(batch.crops for batch in batches), strict=True)],
        torch.cat([batch.photometric for batch in batches]),
        [message for batch in batches for message in batch.bad],
        batches[0].epoch,
        torch.cat([batch.indices for batch in batches]),
        torch.cat([batch.records for batch in batches]),
        sum(batch.seen for batch in batches),
    )


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_processes_and_micro_batches_together_see_the_whole_batch(
    pictures: ImageSource, world_size: int, accumulate: int
) -> None:
    whole = views_of(pictures)
    ranks = [views_of(pictures, rank=rank, world_size=world_size, accumulate=accumulate) for rank in range(world_size)]
    assert {len(batches) for batches in ranks} == {6 * accumulate}
    for step in range(6):
        parts = [batch for batches in ranks for batch in batches[step * accumulate : (step + 1) * accumulate]]
        assert {len(part) for part in parts} == {8 // (world_size * accumulate)}
        assert same(joined(parts), whole[step])
        assert joined(parts).bad == whole[step].bad


def test_a_broken_image_is_named_and_another_stands_in_its_place(pictures: ImageSource) -> None:
    batches = views_of(pictures)
    for epoch in range(2):
        mine = joined([batch for batch in batches if batch.epoch == epoch])
        assert len(mine) == mine.seen == 24
        for index in (3, 10, 11):
            assert any(f"{index:02}.png is not a readable image" in message for message in mine.bad)
        assert not {3, 10, 11} & set(mine.indices.tolist())
        assert len(set(mine.indices.tolist())) <= 21
    row = batches[4]
    for at, index in enumerate(row.indices.tolist()):
        again = sample_params(GROUPS, 7, row.epoch, index, 20, 24)
        np.testing.assert_array_equal(row.records[at], again.record()[:2])
        np.testing.assert_array_equal(row.photometric[at], again.photometric)


def test_workers_change_nothing(pictures: ImageSource) -> None:
    assert all(same(a, b) for a, b in zip(views_of(pictures), views_of(pictures, workers=2), strict=True))


def test_nothing_readable_is_an_empty_batch_not_a_crash(tmp_path: Path) -> None:
    for index in range(4):
        (tmp_path / f"{index}.jpg").write_bytes(b"")
    source = open_source(tmp_path)
    with pytest.raises(LowzooError, match=r"none of 4 images tried in .*0\.jpg is not a readable image: it is empty"):
        check_source(source, 2)
    (batch,) = make_loader(ViewDataset(source, GROUPS, 0), EpochBatches(4, 4, epochs=1, seed=0), workers=0, pin=False)
    assert (len(batch), batch.seen, batch.crops) == (0, 4, [])
    assert len(batch.bad) >= 4


def test_odd_pictures_all_become_views(tmp_path: Path) -> None:
    photo = noise(0)
    frames = [noise(1), noise(2)]
    odd = {
        "one.png": encode(noise(3, 1, 1)),
        "thin.png": encode(noise(3, 1, 300)),
        "cmyk.jpg": encode(photo.convert("CMYK"), "JPEG"),
        "deep.png": encode(Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 160)),
        "alpha.png": encode(photo.convert("LA")),
        "moving.gif": encode(frames[0].convert("P"), "GIF", save_all=True, append_images=[frames[1].convert("P")]),
        "named.jpg": encode(photo, "WEBP"),
        "bits.png": encode(photo.convert("1")),
    }
    for name, data in odd.items():
        (tmp_path / name).write_bytes(data)
    jpeg = encode(photo, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (tmp_path / "words.jpg").write_text("not a picture")
    (tmp_path / "zero.jpg").write_bytes(b"")
    source = open_source(tmp_path)
    batches = EpochBatches(11, 11, epochs=1, seed=0)
    (batch,) = make_loader(ViewDataset(source, GROUPS, 0), batches, workers=2, pin=False)
    assert [tuple(crops.shape) for crops in batch.crops] == [(11, 2, 3, 32, 32), (11, 3, 3, 16, 16)]
    bad = {Path(message.split(" is not")[0]).name for message in batch.bad}
    assert bad == {"cut.jpg", "words.jpg", "zero.jpg"}
    given = {Path(source.where(index)).name for index in batch.indices.tolist()}
    assert given == set(odd)


def test_resuming_takes_one_permutation_at_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    make = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: drawn.append(seed) or make(seed))
    last = 300 * (1_281_167 // 1024) - 3
    batches = EpochBatches(1_281_167, 1024, epochs=300, seed=0, start=last, rank=3, world_size=8)
    first = next(iter(batches))
    assert drawn == [[0, 299]]
    assert len(batches) == 3
    assert {epoch for epoch, _ in first} == {299}
    whole = next(iter(EpochBatches(1_281_167, 1024, epochs=300, seed=0, start=last)))
    assert first == whole[3 * 128 : 4 * 128]


@pytest.mark.parametrize(
    ("count", "batch", "sharing", "message"),
    [
        (100, 10, {"world_size": 4}, "10 cannot be divided among 4 processes with 1"),
        (100, 12, {"world_size": 2, "accumulate": 4}, "Use --batch-size 16"),
        (10, 12, {}, "larger than the data, 10 images"),
    ],
)
def test_batches_that_cannot_be_are_refused(count: int, batch: int, sharing: dict[str, int], message: str) -> None:
    with pytest.raises(LowzooError, match=message):
        EpochBatches(count, batch, epochs=1, seed=0, **sharing)


@pytest.mark.parametrize("start", [0, 2, 4])
def test_the_counter_accepts_what_is_due_and_nothing_else(pictures: ImageSource, start: int) -> None:
    batches = EpochBatches(24, 8, epochs=3, seed=0, start=start, rank=1, world_size=2, accumulate=2)
    assert sum(batches.images_of(epoch) for epoch in range(3)) == (9 - start) * 4
    counter = SampleCounter(batches)
    keys = list(batches)
    for batch in keys[:-1]:
        counter.add(batch[0][0], len(batch))
    for epoch in range(start // 3, 2):
        assert counter.end_epoch(epoch) == batches.images_of(epoch)
    with pytest.raises(LowzooError, match="epoch 2 saw 10 images instead of 12: 2 too few"):
        counter.end_epoch(2)
    for batch in [*keys[-6:], keys[-1]]:
        counter.add(batch[0][0], len(batch))
    with pytest.raises(LowzooError, match="2 too many"):
        counter.end_epoch(2)


def test_view_epochs_repeat_global_views_alone(pictures: ImageSource) -> None:
    dataset = ViewDataset(pictures, GROUPS, 0, view_epochs=2)
    plain = ViewDataset(pictures, GROUPS, 0)
    for epoch in (0, 1):
        first, again = dataset[epoch, 5], dataset[epoch + 2, 5]
        assert torch.equal(first.records, again.records)
        assert torch.equal(first.crops[0], again.crops[0])
        assert not torch.equal(first.crops[1], again.crops[1])
        assert torch.equal(first.records, plain[epoch, 5].records)
        assert not torch.equal(again.records, plain[epoch + 2, 5].records)


def test_a_batch_holds_the_views_of_its_records(pictures: ImageSource) -> None:
    (batch,) = make_loader(
        ViewDataset(pictures, GROUPS, 7), EpochBatches(24, 24, epochs=1, seed=7), workers=1, pin=False
    )
    for row, index in enumerate(batch.indices.tolist()):
        image = decode_rgb(pictures.encoded(index), pictures.where(index))
        params = sample_params(GROUPS, 7, 0, index, *image.shape[:2])
        for ours, theirs in zip(batch.crops, crop_views(image, params, GROUPS), strict=True):
            np.testing.assert_array_equal(ours[row], theirs)


def large_photograph(folder: Path) -> Image.Image:
    """A JPEG whose sides are odd, and a slope in either direction."""
    y, x = np.mgrid[0:481, 0:643]
    photo = Image.fromarray(np.stack([x * 255 / 642, y * 255 / 480, 128 + 0 * x], axis=-1).astype(np.uint8))
    folder.mkdir()
    (folder / "0.jpg").write_bytes(encode(photo, "JPEG", quality=95))
    return photo


LARGE = (ViewGroup(name="global", count=3, size=32, scale=(0.25, 1.0), flip=0),)


def test_large_photographs_give_the_views_of_their_records(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    photo = large_photograph(tmp_path / "photos")
    dataset = ViewDataset(open_source(tmp_path / "photos"), LARGE, 7)
    data = (tmp_path / "photos" / "0.jpg").read_bytes()
    batch = dataset[0, 0]
    params = sample_params(LARGE, 7, 0, 0, 481, 643)
    # A quarter of every crop is as large as two views, an eighth of the smallest is not.
    assert 4 * 2 * 32 <= params.boxes[:, 2:].min() < 8 * 2 * 32
    assert dataset.drawer.draw(data, "0.jpg", Rules(), 0, 0).image.pixels.shape == (
        121,
        161,
        3,
    )
    np.testing.assert_array_equal(batch.records[0], params.record())
    whole = crop_views(np.array(photo), params, LARGE)[0]
    # A pixel of the views is 4 to 10 of 255 along the slopes.
    assert np.abs(batch.crops[0][0].numpy().astype(int) - whole).max() <= 3


def test_global_views_of_large_photographs_repeat_whatever_local_ones_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    large_photograph(tmp_path / "photos")
    source = open_source(tmp_path / "photos")
    groups = (*LARGE, ViewGroup(name="local", count=1, size=32, scale=(0.02, 1.0)))
    data = (tmp_path / "photos" / "0.jpg").read_bytes()
    drawer = ViewDataset(source, groups, 7).drawer
    # The local view decides how small the photograph may be, and each epoch has another.
    assert len({drawer.draw(data, "0.jpg", Rules(), epoch, 0).image.divisor for epoch in range(8)}) > 1
    repeating = ViewDataset(source, groups, 7, view_epochs=1)
    first = repeating[0, 0].crops[0]
    assert all(torch.equal(repeating[epoch, 0].crops[0], first) for epoch in range(1, 8))


def test_what_a_cache_keeps_of_large_photographs_does_not_depend_on_local_views(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    large_photograph(tmp_path / "photos")
    source = open_source(tmp_path / "photos")
    local = ViewGroup(name="local", count=2, size=224, scale=(0.05, 0.25))
    few, more = (ViewDataset(source, groups, 7, whole=True)[0, 0] for groups in (LARGE, (*LARGE, local)))
    assert torch.equal(few.records, more.records)
    assert torch.equal(few.crops[0], more.crops[0])
    shrunk = ViewDataset(source, LARGE, 7)[0, 0]
    assert not torch.equal(shrunk.crops[0], few.crops[0])


def test_a_log_goes_on_where_the_checkpoint_was(tmp_path: Path) -> None:
    log = BadImageLog(tmp_path / "bad.txt", 0.5)
    log.add(["a is broken", "b is broken", "a is broken"], 100)
    saved = log.names, log.count
    log.add(["c is broken"], 110)
    assert (tmp_path / "bad.txt").read_text().split("\n") == ["a is broken", "b is broken", "c is broken", ""]
    again = BadImageLog(tmp_path / "bad.txt", 0.5)
    again.restore(*saved)
    assert (again.names, again.count) == (["a is broken", "b is broken"], 3)
    again.add(["c is broken"], 110)
    assert (tmp_path / "bad.txt").read_text().split("\n") == ["a is broken", "b is broken", "c is broken", ""]
