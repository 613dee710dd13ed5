"""The orientation that a camera notes in a file's EXIF data, and pixels turned by it.

Phones store the sensor's rows and note how the camera was held. Galleries, browsers and the cameras of phones show
pictures upright, so an index whose pictures are not turned does not fit what a phone asks it for. The published data
sets were read as stored, which `stored` repeats.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Orientation = Literal["exif", "stored"]
UPRIGHT = 1
_TAG = 0x0112
_TURNED = (5, 6, 7, 8)


def orientation_of(image: Image.Image) -> int:
    """The orientation 1 to 8 of an opened picture; 1 where there is none, or one that cannot be read."""
    # Pillow's parser raises many things on damaged data, which is of no concern to the pixels.
    try:
        return _valid(image.getexif().get(_TAG))
    except Exception:
        return UPRIGHT


def orientation_in(segment: bytes) -> int:
    """The orientation in the EXIF segment of a JPEG, `Exif` and two zeros included."""
    exif = Image.Exif()
    try:
        exif.load(segment)
        return _valid(exif.get(_TAG))
    except Exception:
        return UPRIGHT


def swaps_sides(orientation: int) -> bool:
    """Tell whether height and width change places."""
    return orientation in _TURNED


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width of an opened picture once it is turned as its camera noted."""
    if image.format == "TIFF":
        image.load()  # PIL turns a TIFF by itself, and says so by then
    turned = swaps_sides(orientation_of(image))
    return (image.width, image.height) if turned else (image.height, image.width)


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn and mirror pixels (H, W, 3) by an orientation 1 to 8."""
    if orientation in (2, 3):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4):
        pixels = pixels[::-1]
    if orientation in _TURNED:
        pixels = pixels.transpose(1, 0, 2)
        if orientation in (6, 7):
            pixels = pixels[:, ::-1]
        if orientation in (7, 8):
            pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _valid(value: object) -> int:
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT
