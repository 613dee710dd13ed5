"""Which bands of a file a network of so many channels gets."""

import io

import numpy as np
import pytest
from PIL import Image

from lowzoo.data.pixels.channels import decode_channels, of_colours
from lowzoo.data.pixels.decode import BadImage

RNG = np.random.default_rng(0)
GREY = [RNG.integers(0, 256, (6, 9), dtype=np.uint8) for _ in range(5)]


def tiff(*pages: np.ndarray) -> bytes:
    """Encode pages (h, w) or (h, w, bands), without loss."""
    images = [Image.fromarray(page) for page in pages]
    file = io.BytesIO()
    images[0].save(file, "TIFF", save_all=True, append_images=images[1:])
    return file.getvalue()


def test_a_page_a_band() -> None:
    np.testing.assert_array_equal(decode_channels(tiff(*GREY), "x.tif", 5).pixels, np.stack(GREY, 2))


def test_colours_and_a_page_beside_them() -> None:
    rgb = np.stack(GREY[:3], 2)
    np.testing.assert_array_equal(decode_channels(tiff(rgb, GREY[3]), "x.tif", 4).pixels, np.stack(GREY[:4], 2))


def test_four_bands_are_taken_as_they_are() -> None:
    """For three channels the fourth would be transparency; here it is a band."""
    file = io.BytesIO()
    Image.fromarray(np.stack(GREY[:4], 2)).save(file, "PNG")
    np.testing.assert_array_equal(decode_channels(file.getvalue(), "x.png", 4).pixels, np.stack(GREY[:4], 2))


@pytest.mark.parametrize(("scale", "kind"), [(257, np.uint16), (16, np.uint16), (1, np.float32), (1 / 255, np.float32)])
def test_deep_bands_share_a_range(scale: float, kind: type) -> None:
    deep = [(page * np.float64(scale)).astype(kind) for page in GREY]
    deep[0][0, 0] = np.asarray(255 * scale).astype(kind)
    pixels = decode_channels(tiff(*deep), "x.tif", 5).pixels.astype(int)
    expected = np.stack(GREY, 2).astype(int)
    expected[0, 0, 0] = 255
    assert np.abs(pixels - expected).max() <= 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(*GREY[:3]), "it has 3 bands, and the network takes 5"),
        (tiff(*GREY, GREY[0]), "it has 6 bands"),
        (tiff(*GREY[:4], GREY[4][:3]), "its pages have 2 different sizes"),
        (b"words", "no known format"),
    ],
)
def test_other_files_are_none_of_its_pictures(data: bytes, reason: str) -> None:
    with pytest.raises(BadImage, match=f"x.tif is not a readable image: {reason}"):
        decode_channels(data, "x.tif", 5)


def test_stand_ins_repeat_the_colours() -> None:
    rgb = np.stack(GREY[:3], 2)
    np.testing.assert_array_equal(of_colours(rgb, 5), rgb[:, :, [0, 1, 2, 0, 1]])
    assert of_colours(rgb, 1) is rgb
