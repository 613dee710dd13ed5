"""More than 8 bits: the range of a set is found, said and kept; nothing becomes black or white in silence."""

import io

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.decode import BadImage, Rules, decode, decode_rgb
from lowzoo.data.pixels.intensity import Intensity, parse_intensity, usual_range
from lowzoo.data.reading.options import SourceOptions
from lowzoo.data.source import open_source

RAMP = np.linspace(0, 1, 64 * 48).reshape(48, 64)


def encode(array, format="TIFF", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format, **options)
    return buffer.getvalue()


def write(path, array, format="TIFF", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(array, format, **options))
    return path


def grey(data, rules=Rules()):
    image = decode_rgb(data, "x", rules)
    assert (image[..., 0] == image[..., 1]).all()
    return image[..., 0]


@pytest.mark.parametrize(
    "array",
    [
        RAMP.astype(np.float32),
        (RAMP * 255).astype(np.float32),
        (RAMP * 65535).astype(np.float32),
        (RAMP * 65535).astype(np.int32),
        (RAMP * 4095).astype(np.uint16),
        (RAMP * 1023).astype(np.uint16),
        (RAMP * 65535).astype(np.uint16),
    ],
    ids=["fractions", "float to 255", "float to 65535", "int32", "12 bits", "10 bits", "16 bits"],
)
def test_a_ramp_stays_a_ramp(array):
    assert np.abs(grey(encode(array)).astype(float) - RAMP * 255).max() <= 1


def test_twelve_bits_in_a_png_and_in_colour():
    cv2 = pytest.importorskip("cv2")
    data = encode((RAMP * 4095).astype(np.uint16), "PNG")
    assert np.abs(grey(data).astype(float) - RAMP * 255).max() <= 1
    colour = np.stack([RAMP, RAMP**2, 1 - RAMP], axis=-1)
    for extension in (".png", ".tiff"):
        data = cv2.imencode(extension, (colour[..., ::-1] * 4095).astype(np.uint16))[1].tobytes()
        assert np.abs(decode_rgb(data, "x") - colour * 255).max() <= 1
    floats = cv2.imencode(".tiff", colour[..., ::-1].astype(np.float32))[1].tobytes()
    assert np.abs(decode_rgb(floats, "x") - colour * 255).max() <= 1


def test_signed_numbers_keep_their_order():
    image = Image.fromarray((RAMP * 4000 - 1000).astype(np.int32))
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    assert np.abs(grey(buffer.getvalue()).astype(float) - RAMP * 255).max() <= 1


def test_white_is_zero_is_turned_round():
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[262] = 0
    buffer = io.BytesIO()
    Image.fromarray((RAMP * 65535).astype(np.uint16)).save(buffer, "TIFF", tiffinfo=info)
    data = buffer.getvalue()
    if Image.open(io.BytesIO(data)).tag_v2[262] != 0:
        pytest.skip("this Pillow does not write the tag")
    assert np.abs(grey(data).astype(float) - (1 - RAMP) * 255).max() <= 1


def test_a_range_that_the_file_states_counts():
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[281] = 4000  # the largest value that pictures of this detector can have
    buffer = io.BytesIO()
    Image.fromarray((RAMP * 1000).astype(np.uint16)).save(buffer, "TIFF", tiffinfo=info)
    assert abs(int(grey(buffer.getvalue()).max()) - 64) <= 1
    pgm = b"P5 2 1 1000\n" + np.array([0, 500], ">u2").tobytes()
    assert abs(int(grey(pgm).max()) - 127) <= 1


def test_one_range_for_all_pictures_of_a_set_over_its_splits(tmp_path):
    write(tmp_path / "train" / "a" / "dark.png", (RAMP * 900).astype(np.uint16), "PNG")
    write(tmp_path / "train" / "b" / "mid.png", (RAMP * 2000).astype(np.uint16), "PNG")
    write(tmp_path / "val" / "a" / "bright.png", (RAMP * 4000).astype(np.uint16), "PNG")
    for split in ("train", "validation"):
        source = open_source(tmp_path, split)
        assert source.rules.intensity.measured == (("uint16", (0.0, 4095.0)),)
        assert [note for note in source.found.notes if "0 becomes black and 4095 white" in note]
    train = open_source(tmp_path)
    assert abs(int(train.pixels(0).max()) - 56) <= 1
    assert abs(int(train.pixels(1).max()) - 125) <= 1
    assert train.decoded(0).oddities == ()


def test_a_chosen_range_clips_and_says_so(tmp_path):
    write(tmp_path / "a.png", (RAMP * 4000).astype(np.uint16), "PNG")
    source = open_source(tmp_path, options=SourceOptions(intensity="0,2000"))
    assert source.decoded(0).oddities == ("clipped",)
    assert source.pixels(0).max() == 255
    assert "4000" in source.found.notes[0]
    whole = open_source(tmp_path, options=SourceOptions(intensity="dtype"))
    assert abs(int(whole.pixels(0).max()) - 15) <= 1


def test_a_set_of_eight_bits_has_nothing_to_say(tmp_path):
    write(tmp_path / "a.png", (RAMP * 255).astype(np.uint8), "PNG")
    write(tmp_path / "b.jpg", (RAMP * 255).astype(np.uint8), "JPEG")
    source = open_source(tmp_path)
    assert source.found.notes == ()
    assert source.rules == Rules()


def test_constant_pictures_are_odd():
    assert decode(encode(np.full((9, 9), 0.5, np.float32)), "x").oddities == ("constant",)
    assert decode(encode(np.full((9, 9, 3), 77, np.uint8), "PNG"), "x").oddities == ("constant",)
    nearly = np.full((40, 40, 3), 77, np.uint8)
    nearly[39, 39, 2] = 78
    assert decode(encode(nearly, "PNG"), "x").oddities == ()


def test_numbers_that_are_none_are_refused():
    array = RAMP.astype(np.float32)
    array[3, 4] = np.nan
    with pytest.raises(BadImage, match="1 of its 3072 values are not finite"):
        decode_rgb(encode(array), "x")


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        ("uint16", 3, 200, (0, 255)),
        ("uint16", 3, 256, (0, 1023)),
        ("uint16", 0, 4095, (0, 4095)),
        ("uint16", 0, 4096, (0, 16383)),
        ("uint16", 0, 7, (0, 7)),
        ("int32", -1000, 3000, (-1000, 3000)),
        ("int32", 0, 70000, (0, 2**18 - 1)),
        ("float32", 0, 0.7, (0, 1)),
        ("float32", -0.9, 0.7, (-1, 1)),
        ("float32", 0, 1e-4, (0, 1e-4)),
        ("float32", 0, 1.001, (0, 1.001)),
        ("float32", 0, 254.9, (0, 255)),
        ("float32", -1024, 3071, (-1024, 3071)),
        ("uint16", 5, 5, (5, 6)),
    ],
)
def test_usual_ranges(kind, low, high, expected):
    assert usual_range(kind, low, high) == expected


@pytest.mark.parametrize("word", ["bright", "5", "5,5", "9,1", "0,nan", "1,2,3", ""])
def test_impossible_intensities(word):
    with pytest.raises(LowzooError, match="impossible"):
        parse_intensity(word)
    assert parse_intensity("0,4095") == Intensity((0.0, 4095.0))
