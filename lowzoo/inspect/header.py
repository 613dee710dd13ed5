"""What a picture's header says: format, mode, orientation, animation. No pixel is decoded for it."""

import functools
import io
import os
import warnings
from dataclasses import dataclass

from PIL import Image

from lowzoo.data.pixels.decode import decoders
from lowzoo.data.pixels.formats import DECODERS, extension, register_heif
from lowzoo.data.pixels.orientation import UPRIGHT, orientation_of

_MODES = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with alpha",
    "La": "grey with alpha",
    "RGB": "RGB",
    "RGBA": "RGB with alpha",
    "RGBa": "RGB with alpha",
    "RGBX": "RGB",
    "P": "palette",
    "PA": "palette with alpha",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
    "LAB": "Lab",
    "HSV": "HSV",
    "I": "32-bit grey",
    "F": "float grey",
}
_TIFF_BITS = 258
# Names for one and the same format.
_SAME = {"MPO": "JPEG", "DIB": "BMP"}


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a picture before it is decoded.

    Args:
        format: As Pillow finds it in the bytes; its name does not count.
        mode: In words.
        orientation: That the camera noted, 1 to 8; 1 is upright.
        frames: More than one for an animation.
    """

    format: str
    mode: str
    orientation: int = UPRIGHT
    frames: int = 1


def read_header(data: bytes) -> Header | None:
    """Read the header of an encoded picture; None where Pillow knows no such format."""
    register_heif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=decoders()) as image:
                return Header(image.format or "unknown", _mode(image, data), orientation_of(image), _frames(image))
    # Pillow's plug-ins raise almost anything on damaged bytes. Whether the picture can be read is for the decoder to
    # say, which also knows a format that Pillow does not.
    except Exception:
        return Header("TIFF", "float RGB") if data[:4] in (b"II*\0", b"MM\0*") else None


def format_by_name(name: str) -> str:
    """The format that a file's extension promises; empty where it promises none."""
    return _by_extension().get(f".{extension(os.path.basename(name))}", "")


def same_format(one: str, other: str) -> bool:
    """Tell whether two of Pillow's names mean one format."""
    return _SAME.get(one, one) == _SAME.get(other, other)


def _mode(image: Image.Image, data: bytes) -> str:
    mode = image.mode
    if mode.startswith("I;16"):
        return "16-bit grey"
    if image.format == "PNG" and data[24:25] == b"\x10":
        return {0: "16-bit grey", 4: "16-bit grey with alpha", 6: "16-bit RGB with alpha"}.get(data[25], "16-bit RGB")
    if image.format == "TIFF" and mode in ("RGB", "RGBA", "RGBX"):
        bits = max(getattr(image, "tag_v2", {}).get(_TIFF_BITS, (8,)))
        return f"{bits}-bit RGB" if bits > 8 else _MODES[mode]
    if mode == "P" and "transparency" in image.info:
        return "palette with alpha"
    return _MODES.get(mode, mode)


def _frames(image: Image.Image) -> int:
    # The further frames of an MPO are a phone's second lens, the pages of a TIFF are no animation.
    if image.format in ("MPO", "TIFF") or not getattr(image, "is_animated", False):
        return 1
    return int(getattr(image, "n_frames", 1))


@functools.lru_cache(maxsize=1)
def _by_extension() -> dict[str, str]:
    register_heif()
    return {ending: name for ending, name in Image.registered_extensions().items() if name in DECODERS}
