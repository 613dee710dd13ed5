"""A streamed set: everything is seen, shared out and resumed, in the order that the stream gives."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import ImageSource, open_source, split_names
from lowzoo.train.data.dataset import EpochBatches, SampleCounter, ViewBatch, ViewDataset, check_source, make_loader
from lowzoo.train.defaults import choose, look
from lowzoo.train.settings.config import resolve
from lowzoo.train.teacher_cache.opening import open_cache
from lowzoo.train.teachers import Teacher, TeacherFacts
from lowzoo.train.teachers.of_run import create_teacher
from lowzoo.train.views import ViewGroup, sample_params

datasets = pytest.importorskip("datasets")

# Views of the whole image without any colour change, so that a view tells which image it shows.
GROUPS = (
    ViewGroup(name="global", count=2, size=8, scale=(1.0, 1.0), ratio=(1.0, 1.0), jitter_p=0, gray=0),
    ViewGroup(name="local", count=1, size=8, scale=(0.1, 0.4)),
)
ROWS = 40


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (12, 12), (shade, shade, shade)).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder: Path, shards: int, broken: tuple[int, ...] = ()) -> str:
    """Pictures of the shades 0 to 39 in as many files; the word that names them."""
    datasets.disable_progress_bars()
    folder.mkdir()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    for shard, shades in enumerate(np.array_split(np.arange(ROWS), shards)):
        cells = [
            {"bytes": b"broken" if shade in broken else png(shade), "path": f"{shade}.png"} for shade in shades.tolist()
        ]
        rows = datasets.Dataset.from_dict({"image": cells, "label": [0] * len(cells)}, features=features)
        rows.to_parquet(folder / f"train-{shard:05}-of-{shards:05}.parquet")
    datasets.enable_progress_bars()
    return f"hf-stream:{folder}#{ROWS}"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ImageSource:
    return open_source(write(tmp_path_factory.mktemp("stream") / "set", 4))


def run(source: ImageSource, workers: int = 0, start: int = 0, **sharing: int) -> list[ViewBatch]:
    batches = EpochBatches(len(source), 8, epochs=2, seed=1, start=start, **sharing)
    found = list(make_loader(ViewDataset(source, GROUPS, 1), batches, workers=workers, pin=False))
    counter = SampleCounter(batches)
    for batch in found:
        counter.add(batch.epoch, batch.seen)
    for epoch in range(start // batches.steps_per_epoch, 2):
        counter.end_epoch(epoch)
    return found


def shades(batches: list[ViewBatch], epoch: int) -> list[int]:
    return [int(shade) for batch in batches if batch.epoch == epoch for shade in batch.crops[0][:, 0, 0, 0, 0]]


def test_the_word(source: ImageSource, tmp_path: Path) -> None:
    assert source.streamed
    assert (source.name, len(source), source.labels) == ("set/train", ROWS, None)
    assert source.encoded(2) == png(2)
    check_source(source, 8)
    with pytest.raises(LowzooError, match=r"is a stream, from which pictures cannot be picked. Name it with hf:"):
        source.encoded(64)
    word = write(tmp_path / "set", 2)
    assert split_names(word) == ("train",)
    with pytest.raises(LowzooError, match=r"does not state its number of rows. Write it behind a #"):
        open_source(word.removesuffix(f"#{ROWS}"))
    with pytest.raises(LowzooError, match="names no data set"):
        open_source("hf-stream:#3")
    assert open_source(word).fingerprint() != open_source(word + "1").fingerprint()


def test_a_stream_has_no_places_in_a_teacher_cache(source: ImageSource, tmp_path: Path) -> None:
    config = resolve("rob_dino")
    teacher = Teacher(torch.nn.Identity(), None, TeacherFacts("tiny", "none", "0", "not at all", ""))
    with pytest.raises(LowzooError, match="is a stream, whose images have no fixed places in a teacher cache"):
        open_cache(tmp_path / "cache", teacher, config, source, "fp32")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_an_epoch_sees_every_image_once_in_an_order_of_its_own(source: ImageSource, workers: int) -> None:
    batches = run(source, workers)
    assert [len(batch) for batch in batches] == [8] * 10
    first, second = (shades(batches, epoch) for epoch in range(2))
    assert len(first) == len(second) == ROWS
    # With two workers, one follows 3 of 5 batches and runs out of its own half of the shards.
    assert len(set(first)) == (36 if workers == 2 else ROWS)
    assert first != sorted(first)
    assert first != second
    indices = torch.cat([batch.indices for batch in batches if batch.epoch == 0])
    assert len(indices.unique()) == ROWS


@pytest.mark.parametrize("shards", [4, 1])
def test_processes_share_the_images(tmp_path: Path, shards: int) -> None:
    source = open_source(write(tmp_path / "set", shards))
    ranks = [run(source, rank=rank, world_size=2, accumulate=2) for rank in range(2)]
    assert [{len(batch) for batch in batches} for batches in ranks] == [{2}, {2}]
    seen = [shades(batches, 0) for batches in ranks]
    assert sorted(seen[0] + seen[1]) == list(range(ROWS))


@pytest.mark.parametrize(
    ("workers", "start"), [(0, 1), (0, 4), (0, 5), (0, 8), pytest.param(2, 3, marks=pytest.mark.slow)]
)
def test_resuming_gives_the_same_batches(source: ImageSource, workers: int, start: int) -> None:
    whole = run(source, workers)
    rest = run(source, workers, start=start)
    assert len(rest) == 10 - start
    for ours, theirs in zip(rest, whole[start:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours.crops, theirs.crops, strict=True))
        assert torch.equal(ours.records, theirs.records)


def test_a_broken_row_is_named_and_its_neighbour_stands_in(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "set", 4, broken=(5, 17)))
    batches = run(source)
    for epoch in range(2):
        bad = [message for batch in batches if batch.epoch == epoch for message in batch.bad]
        assert sorted(message.split(": ")[1] for message in bad) == [
            "17.png is not a readable image",
            "5.png is not a readable image",
        ]
        assert set(shades(batches, epoch)) == set(range(ROWS)) - {5, 17}
        assert len(shades(batches, epoch)) == ROWS


@pytest.mark.parametrize("broken", [range(3), range(24)])
def test_a_stand_in_has_views_of_its_own_and_is_the_same_after_a_resumption(tmp_path: Path, broken: range) -> None:
    source = open_source(write(tmp_path / "set", 1, broken=tuple(broken)))
    whole = run(source)
    for start in range(1, 10):
        for ours, theirs in zip(run(source, start=start), whole[start:], strict=True):
            assert torch.equal(ours.indices, theirs.indices)
            assert torch.equal(ours.crops[0], theirs.crops[0])
            assert torch.equal(ours.records, theirs.records)
    for batch in whole:
        for record, index in zip(batch.records, batch.indices.tolist(), strict=True):
            expected = sample_params(GROUPS, 1, batch.epoch, index, 12, 12).record()[:2]
            np.testing.assert_array_equal(record, expected)


def test_prototypes_are_fitted_to_no_stream(source: ImageSource) -> None:
    for recipe in ("rob", "seed"):
        facts = look(recipe, source, {"device": "cpu"}, 1)
        with pytest.raises(LowzooError, match="from a stream none can be picked") as caught:
            create_teacher(resolve(choose(facts, {}).fields), source)
        assert "rob_vit_tiny" in caught.value.remedy
    named = {"teacher": "rob_vit_tiny", "device": "cpu"}
    config = resolve(choose(look("rob", source, named, 1), named).fields, options=named)
    assert create_teacher(config, source) is not None
