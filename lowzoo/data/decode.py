"""Encoded bytes to RGB pixels, by one set of rules whichever decoder is installed.

The rules are those of PIL's ``convert("RGB")``: an EXIF orientation is not applied (the data sets that the published
figures rest on were never rotated either), CMYK and palettes become RGB, an animation gives its first frame. Two
exceptions: transparency is laid over white, and 16-bit grey is scaled to 8 bit where PIL would clip it.

OpenCV, where installed, takes the hot path (a whole JPEG of one or three components); it decodes about three times as
many of them a second, and PIL, being strict about truncated files, takes everything else.
"""

import functools
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowzoo.errors import LowzooError

# PIL refuses beyond twice its warning threshold; the same bound here keeps both decoders to one rule.
MAX_PIXELS = 178_956_970
# Cameras and web servers append a few zero bytes or line ends after the end-of-image marker.
_TAIL_BYTES = 32


class BadImage(LowzooError):
    """Bytes that no decoder reads as a picture; the message names the file."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where} is not a readable image: {reason}", "Replace or remove it")


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture, perhaps smaller than it is stored.

    Args:
        pixels: (h, w, 3) RGB, C-contiguous.
        size: (H, W) as it is stored, in pixels.
        divisor: h and w are H and W divided by it, rounded up.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    divisor: int = 1


def decode_rgb(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode one encoded picture.

    Args:
        data: The file's bytes in any format PIL reads.
        where: The file's name for the error message.

    Returns:
        (H, W, 3) RGB, C-contiguous.

    Raises:
        BadImage: Empty, truncated, not a picture, or larger than `MAX_PIXELS`.
    """
    return decode_shrunk(data, where, lambda height, width: 1).pixels


def decode_shrunk(data: bytes, where: str, divisor: Callable[[int, int], int]) -> Decoded:
    """Decode one encoded picture, a JPEG perhaps to a half, a quarter or an eighth of its size.

    Each block of 8 x 8 pixels is then transformed back to fewer pixels, which is an antialiased reduction and saves
    time. Only OpenCV does it here.

    Args:
        data: The file's bytes in any format PIL reads.
        where: The file's name for the error message.
        divisor: Given height and width as stored, says by what both may be divided: 1, 2, 4 or 8.

    Raises:
        BadImage: As `decode_rgb`.
    """
    if not data:
        raise BadImage(where, "it is empty")
    shape = _plain_jpeg_shape(data)
    cv2 = _opencv() if shape is not None else None
    if cv2 is not None and shape is not None:
        if shape[0] * shape[1] > MAX_PIXELS:
            raise _too_large(where, shape[1], shape[0])
        by = divisor(*shape)
        mode = cv2.IMREAD_COLOR if by == 1 else getattr(cv2, f"IMREAD_REDUCED_COLOR_{by}")
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), mode | cv2.IMREAD_IGNORE_ORIENTATION)
        if bgr is not None:
            return Decoded(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), shape, by)
    pixels = _decode_with_pil(data, where)
    return Decoded(pixels, (pixels.shape[0], pixels.shape[1]))


def _decode_with_pil(data: bytes, where: str) -> NDArray[np.uint8]:
    try:
        with warnings.catch_warnings():
            # The bound that matters is MAX_PIXELS, where PIL raises; its warning at half of that is noise here.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                # PIL's own check has the same bound, but any library may have switched it off for the whole process.
                if image.width * image.height > MAX_PIXELS:
                    raise _too_large(where, image.width, image.height)
                image.load()
                return np.array(_to_rgb(image))
    except (MemoryError, BadImage):
        raise
    except Image.DecompressionBombError as error:
        raise BadImage(where, f"it has more than {MAX_PIXELS} pixels") from error
    # PIL's plug-ins raise OSError, SyntaxError, ValueError, struct.error, IndexError... on hostile bytes.
    except Exception as error:
        reason = str(error).replace("\n", " ")
        if "cannot identify image file" in reason:
            reason = "no known image format"
        raise BadImage(where, reason or type(error).__name__) from error


def _too_large(where: str, width: int, height: int) -> BadImage:
    return BadImage(where, f"{width} x {height} is more than {MAX_PIXELS} pixels")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "I":
        # 16-bit PNG in older PIL releases, as 32-bit integers.
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


@functools.lru_cache(maxsize=1)
def _opencv() -> ModuleType | None:
    try:
        import cv2
    except ImportError:
        return None
    # The pool of the parent does not survive a fork, and data workers are one core each anyway.
    cv2.setNumThreads(1)
    module: ModuleType = cv2
    return module


def _plain_jpeg_shape(data: bytes) -> tuple[int, int] | None:
    """Give (height, width) of a whole baseline or progressive JPEG with 1 or 3 components, else None.

    libjpeg fills a truncated file with grey and only prints a warning, so a file without its end marker is left to PIL.
    """
    if data[:3] != b"\xff\xd8\xff" or b"\xff\xd9" not in data[-_TAIL_BYTES:]:
        return None
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in (0xC0, 0xC1, 0xC2):
            height, width = int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
            return (height, width) if data[at + 9] in (1, 3) and height and width else None
        if marker == 0xDA or (0xC3 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return None
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None
