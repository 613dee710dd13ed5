"""Every kind of picture a folder may hold becomes (H, W, 3) uint8 by PIL's rules, or one clear error."""

import io
import resource
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from lowzoo.data.pixels import decode as decode_module
from lowzoo.data.pixels.decode import BadImage, Rules, decode, decode_rgb

RED = (200, 30, 40)


def encode(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture(params=["opencv", "pil"])
def decoder(request, monkeypatch):
    """Both decoders must give the same answers."""
    if request.param == "opencv":
        pytest.importorskip("cv2")
    else:
        monkeypatch.setattr(decode_module, "opencv", lambda: None)


@pytest.fixture
def photo():
    x, y = np.meshgrid(np.linspace(0, 255, 60), np.linspace(0, 255, 40))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=-1).astype(np.uint8))


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}])
def test_jpeg_is_what_pil_decodes(photo, options):
    data = encode(photo, "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    image = decode_rgb(data, "photo.jpg")
    assert image.shape == (40, 60, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert np.abs(image.astype(int) - expected).max() <= 2


@pytest.mark.usefixtures("decoder")
def test_grey_jpeg_has_three_equal_channels(photo):
    image = decode_rgb(encode(photo.convert("L"), "JPEG"), "grey.jpg")
    assert image.shape == (40, 60, 3)
    assert (image[..., 0] == image[..., 2]).all()


@pytest.mark.usefixtures("decoder")
def test_cmyk_jpeg_becomes_rgb(photo):
    data = encode(photo.convert("CMYK"), "JPEG", quality=95)
    assert np.abs(decode_rgb(data, "cmyk.jpg").astype(int) - np.asarray(photo)).mean() < 4


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_their_camera_noted(photo, format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photo, format, exif=exif, **({} if format in ("PNG", "TIFF") else {"quality": 98}))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert expected.shape == ((60, 40, 3) if orientation > 4 else (40, 60, 3))
    image = decode_rgb(data, "photo")
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= 3
    if format != "TIFF":  # which Pillow turns whenever it loads one
        assert decode_rgb(data, "photo", Rules(orientation="stored")).shape == (40, 60, 3)


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("value", [0, 9, 1000])
def test_an_impossible_orientation_is_none(photo, value):
    exif = Image.Exif()
    exif[0x0112] = value
    assert decode_rgb(encode(photo, "JPEG", exif=exif), "odd.jpg").shape == (40, 60, 3)


@pytest.mark.usefixtures("decoder")
def test_a_turned_jpeg_is_shrunk_in_its_upright_size(photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    asked = []
    found = decode(
        encode(photo.resize((160, 96)), "JPEG", exif=exif), "p.jpg", divisor=lambda *size: asked.append(size) or 2
    )
    assert found.size == (160, 96)
    assert asked in ([(160, 96)], [])
    assert found.pixels.shape[:2] == (160 // found.divisor, 96 // found.divisor)


@pytest.mark.usefixtures("decoder")
def test_one_pixel():
    image = decode_rgb(encode(Image.new("RGB", (1, 1), RED), "JPEG"), "one.jpg")
    assert image.shape == (1, 1, 3)
    assert np.abs(image[0, 0].astype(int) - RED).max() <= 3


def test_transparency_lies_over_white():
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (*RED, 255))
    assert decode_rgb(encode(image, "PNG"), "a.png").tolist() == [[[255, 255, 255], list(RED)]]
    assert decode_rgb(encode(image, "WEBP", lossless=True), "a.webp").tolist() == [[[255, 255, 255], list(RED)]]


def test_palette_with_transparent_colour():
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, *RED])
    image.putpixel((1, 0), 1)
    assert decode_rgb(encode(image, "PNG", transparency=0), "p.png").tolist() == [[[255, 255, 255], list(RED)]]
    assert decode_rgb(encode(image, "PNG"), "p.png").tolist() == [[[0, 0, 0], list(RED)]]


def test_grey_with_alpha():
    image = Image.new("LA", (2, 1), (10, 0))
    image.putpixel((1, 0), (10, 255))
    assert decode_rgb(encode(image, "PNG"), "la.png").tolist() == [[[255] * 3, [10] * 3]]


def test_sixteen_bits_are_scaled_not_clipped():
    image = Image.fromarray(np.array([[0, 0x1234, 0x8000, 0xFFFF]], np.uint16))
    assert decode_rgb(encode(image, "PNG"), "deep.png")[0, :, 0].tolist() == [0, 0x12, 0x80, 0xFF]


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_animation_gives_its_first_frame(format):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encode(frames[0], format, save_all=True, append_images=frames[1:], duration=50, **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert decode_rgb(data, "moving")[4, 4].tolist() == list(RED)


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"these are words, not pixels\n",
        lambda data: data[: len(data) // 2],
        lambda data: data[:20],
        lambda data: b"\xff\xd8\xff" + b"\x00" * 200 + b"\xff\xd9",
    ],
    ids=["empty", "text", "half", "header only", "zeros"],
)
def test_damaged_files_are_named(photo, damage):
    with pytest.raises(BadImage, match=r"holiday\.jpg is not a readable image") as caught:
        decode_rgb(damage(encode(photo, "JPEG")), "holiday.jpg")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("decoder")
def test_truncated_jpeg_with_whole_thumbnail_is_damaged(photo):
    """The end marker of an embedded thumbnail must not pass for that of the picture."""
    exif = b"Exif\x00\x00" + encode(photo.resize((8, 8)), "JPEG")
    data = encode(photo, "JPEG", exif=exif, quality=95)
    assert decode_rgb(data, "whole.jpg").shape == (40, 60, 3)
    with pytest.raises(BadImage):
        decode_rgb(data[: len(data) - 200], "cut.jpg")


@pytest.mark.usefixtures("decoder")
def test_bytes_after_the_end_are_tolerated(photo):
    assert decode_rgb(encode(photo, "JPEG") + b"\x00" * 1000, "padded.jpg").shape == (40, 60, 3)


def jpeg_bomb(photo):
    data = bytearray(encode(photo, "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    return bytes(data)


def png_bomb(photo):
    data = bytearray(encode(photo, "PNG"))
    data[16:24] = (60_000).to_bytes(4) * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    return bytes(data)


def gif_bomb(photo):
    data = bytearray(encode(photo.convert("P"), "GIF"))
    data[6:10] = b"\xff" * 4
    return bytes(data)


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("limit", ["on", "off"])
@pytest.mark.parametrize("make", [jpeg_bomb, png_bomb, gif_bomb])
def test_a_bomb_is_refused_before_memory_is_taken(photo, make, limit, monkeypatch):
    if limit == "off":  # as some libraries leave it
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadImage, match=r"bomb is not a readable image: .* more than 178956970"):
        decode_rgb(make(photo), "bomb")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "I", "F", "I;16"])
def test_every_mode_of_tiff_becomes_rgb(photo, mode):
    grey = photo.convert("L")
    data = encode((grey if mode in ("I", "F", "I;16") else photo).convert(mode), "TIFF")
    image = decode_rgb(data, "a.tif")
    assert (image.shape, image.dtype) == ((40, 60, 3), np.uint8)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_colour_keeps_its_intensities(format):
    cv2 = pytest.importorskip("cv2")
    pixels = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    data = cv2.imencode(f".{format.lower()}", pixels[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode_rgb(data, "deep"), np.rint(pixels / 257))
