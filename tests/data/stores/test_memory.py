"""Pictures that a program holds are read as those that lie in files."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.decode import decode_rgb
from lowzoo.data.reading.options import SourceOptions
from lowzoo.data.source import images_of, open_set, open_source

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        PIXELS,
        Image.fromarray(PIXELS),
        torch.from_numpy(PIXELS.transpose(2, 0, 1).copy()),
        torch.from_numpy(PIXELS.transpose(2, 0, 1).copy()).float() / 255,
        PIXELS.astype(np.float32) / 255,
    ],
    ids=["array", "pil", "tensor", "float tensor", "float array"],
)
def test_every_kind_gives_the_pixels_to_the_bit(image: Any) -> None:
    source = open_source([image])
    assert len(source) == 1
    assert np.array_equal(source.pixels(0), PIXELS)


def test_a_batch_is_its_images() -> None:
    source = open_source(torch.stack([torch.from_numpy(PIXELS.transpose(2, 0, 1).copy())] * 3))
    assert len(source) == 3
    assert source.where(2) == "image 2"


def test_grey_is_read_as_from_a_file() -> None:
    assert np.array_equal(open_source([PIXELS[..., 0]]).pixels(0)[..., 2], PIXELS[..., 0])


def test_a_pil_image_is_turned_as_its_camera_noted() -> None:
    image, file = Image.fromarray(PIXELS), io.BytesIO()
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(file, "PNG", exif=exif)
    expected = decode_rgb(file.getvalue(), "file")
    assert expected.shape == (12, 9, 3)
    assert np.array_equal(open_source([Image.open(io.BytesIO(file.getvalue()))]).pixels(0), expected)
    stored = open_source([Image.open(io.BytesIO(file.getvalue()))], options=SourceOptions(orientation="stored"))
    assert np.array_equal(stored.pixels(0), PIXELS)


def test_the_identity_is_the_contents_and_survives_a_worker() -> None:
    one, other = images_of([PIXELS]), images_of([255 - PIXELS])
    assert one.fingerprint() == images_of([Image.fromarray(PIXELS)]).fingerprint() != other.fingerprint()
    assert pickle.loads(pickle.dumps(one)).fingerprint() == one.fingerprint()


def test_labels_and_names() -> None:
    source = images_of([PIXELS, PIXELS], [1, 0], ["cat", "dog"], name="mine")
    assert source.name == "mine/train"
    assert source.require_labels().tolist() == [1, 0]
    assert open_set(source).open("train") is source


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "no images"),
        (["x.jpg"], "image 0 is a str"),
        ([PIXELS, torch.zeros(5, 4, 4)], "image 1 has the shape"),
        ([torch.full((3, 4, 4), 1.5)], "floats from 1.5"),
        ([np.full((4, 4), np.nan, np.float32)], "floats from nan"),
        ([PIXELS.astype(np.int64)], "type int64"),
    ],
)
def test_what_is_no_picture_is_refused(images: list[Any], message: str) -> None:
    with pytest.raises(LowzooError, match=message):
        open_source(images)


def test_options_without_use_are_refused() -> None:
    with pytest.raises(LowzooError, match="no use for labels"):
        open_source([PIXELS], options=SourceOptions(labels=Path("x.csv")))
    with pytest.raises(LowzooError, match="open already"):
        open_set(images_of([PIXELS]), SourceOptions(orientation="stored"))
    with pytest.raises(LowzooError, match="1 images have 2 labels"):
        images_of([PIXELS], [0, 1])


@pytest.mark.parametrize("mode", ["I", "F", "I;16", "I;16B"])
def test_numbers_of_more_than_eight_bits_keep_their_range(mode: str) -> None:
    ramp = np.linspace(0, 65_535, 1024).reshape(32, 32)
    if mode in ("I", "F"):
        image = Image.fromarray(ramp.astype(np.int32) if mode == "I" else (ramp / 65_535).astype(np.float32))
    else:
        image = Image.frombytes(mode, (32, 32), ramp.astype(">u2" if mode.endswith("B") else "<u2").tobytes())
    assert image.mode == mode
    pixels = open_set([image, image.copy()]).open("train").pixels(0)
    assert np.abs(pixels[..., 0] - ramp / 257).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La"])
def test_what_is_transparent_is_white_in_any_mode(mode: str) -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[..., :3], rgba[:4, :, 3] = 40, 255
    whole = Image.fromarray(rgba)
    image = whole if mode == "RGBA" else whole.convert("LA") if mode == "LA" else whole.convert("RGBa")
    image = whole.convert("LA").convert("La") if mode == "La" else image
    assert image.mode == mode
    pixels = open_set([image]).open("train").pixels(0)
    assert (pixels[:4] == 40).all()
    assert (pixels[4:] == 255).all()


@pytest.mark.parametrize(
    "one",
    [
        np.zeros((40, 50, 3), np.uint8),
        np.zeros((40, 50, 4), np.uint8),
        np.zeros((40, 50, 1), np.uint8),
        torch.zeros(3, 40, 50),
        torch.zeros(4, 40, 50),
    ],
    ids=lambda one: str(tuple(one.shape)),
)
def test_one_picture_is_not_taken_for_its_rows_or_colours(one: Any) -> None:
    with pytest.raises(LowzooError, match="is one picture, or a batch of grey ones"):
        images_of(one)
    assert len(images_of([one])) == 1


def test_grey_pictures_come_in_batches() -> None:
    assert len(images_of(np.zeros((5, 40, 50), np.uint8))) == 5
    assert len(images_of(torch.zeros(5, 40, 50))) == 5
    assert len(images_of(list(torch.zeros(3, 40, 50)))) == 3


class _Dataset:
    """Answers to any number, as one that augments its pictures may."""

    def __init__(self, items: Any, count: int) -> None:
        self.items, self.count = items, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.items[index % len(self.items)] if isinstance(self.items, list) else self.items[index]


def test_a_dataset_gives_as_many_pictures_as_its_length_says() -> None:
    picture = Image.new("RGB", (8, 8))
    assert len(images_of(_Dataset([picture], 5))) == 5
    assert len(images_of(_Dataset({0: picture, 1: picture}, 2))) == 2
    with pytest.raises(LowzooError, match="image 2 cannot be had: "):
        images_of(_Dataset({0: picture, 1: picture}, 3))
    with pytest.raises(LowzooError, match="of 2 images there are 1"):
        images_of(_Short([picture, picture]))


class _Short(list[Any]):
    """Stops before its end."""

    def __iter__(self) -> Any:
        return iter([self[0]])
