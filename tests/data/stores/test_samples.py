"""What the package brings along: decodable, labelled, divided without leaks, and small."""

import io
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.decode import decode_rgb
from lowzoo.data.source import open_source, split_names
from lowzoo.data.stores.samples import demonstration_photos


@pytest.fixture(scope="module")
def pixels():
    return {
        split: np.stack([decode_rgb(s.encoded(i), s.where(i)) for i in range(len(s))])
        for split in split_names(None)
        for s in [open_source(None, split)]
    }


def test_two_splits_of_twelve_classes():
    train, validation = open_source(None), open_source(None, "validation")
    assert train.class_names == validation.class_names
    assert len(train.class_names) == 12
    counts, held_out = np.bincount(train.labels, minlength=12), np.bincount(validation.labels, minlength=12)
    assert counts.min() >= 30
    assert np.abs(held_out / (counts + held_out) - 0.2).max() < 0.03
    assert train.fingerprint() != validation.fingerprint()
    assert train.where(0).startswith("clipart.zip:train/animals/")
    assert train.name == "lowzoo-samples/train"


def test_every_drawing_is_96_px_and_shows_something(pixels):
    for split in pixels.values():
        assert split.shape[1:] == (96, 96, 3)
        ink = (split.min(axis=3) < 207).mean(axis=(1, 2))
        assert ink.min() > 0.03


def test_no_drawing_of_validation_is_in_train(pixels):
    def thumbs(images):
        grey = [np.asarray(Image.fromarray(x).resize((32, 32), Image.Resampling.BOX), np.float32) for x in images]
        flat = np.stack(grey).reshape(len(grey), -1)
        flat -= flat.mean(axis=1, keepdims=True)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    alike = thumbs(pixels["validation"]) @ thumbs(pixels["train"]).T
    assert alike.max() < 0.98


def test_unknown_split():
    with pytest.raises(LowzooError, match="no split 'test'"):
        open_source(None, "test")


def test_photographs():
    photos = demonstration_photos()
    assert [name for name, _ in photos] == ["astronaut.jpg", "cat.jpg", "coffee.jpg", "rocket.jpg"]
    for name, data in photos:
        assert len(data) <= 100_000
        assert Image.open(io.BytesIO(data)).format == "JPEG"
        assert max(decode_rgb(data, name).shape) <= 500


def test_size_and_provenance():
    folder = files("lowzoo.data.samples")
    assert sum(len(entry.read_bytes()) for entry in folder.iterdir() if entry.is_file()) <= 4_000_000
    text = (folder / "README.md").read_text(encoding="utf-8")
    for name, _ in demonstration_photos():
        assert name in text
    train, validation = open_source(None), open_source(None, "validation")
    assert f"{len(train) + len(validation):,} drawings" in text
