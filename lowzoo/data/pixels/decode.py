"""Encoded bytes to RGB pixels, by one set of rules whichever decoder is installed.

The rules are those of PIL's ``convert("RGB")`` (CMYK and palettes become RGB, an animation gives its first frame), with
three exceptions: the orientation that a camera noted is applied (see `lowzoo.data.pixels.orientation`), transparency is
laid over white, and more than 8 bits are brought to 8 (see `lowzoo.data.pixels.intensity`) where PIL would clip them.

OpenCV, where installed, takes the hot path (a whole JPEG of one or three components); it decodes about three times as
many of them a second, and PIL, being strict about truncated files, takes everything else.
"""

import functools
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.formats import DECODERS, HEAD_BYTES, missing_decoder, register_heif
from lowzoo.data.pixels.intensity import Intensity, Wide, deep_colour, wide_picture
from lowzoo.data.pixels.jpeg import plain_jpeg
from lowzoo.data.pixels.orientation import UPRIGHT, Orientation, orientation_of, upright

# PIL refuses beyond twice its warning threshold; the same bound here keeps both decoders to one rule.
MAX_PIXELS = 178_956_970
# What may be odd about a picture that can be read: all pixels alike, or numbers beyond the range that is shown.
ODDITIES = ("constant", "clipped")


class BadImage(LowzooError):
    """Bytes that no decoder reads as a picture; the message names the file."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where} is not a readable image: {reason}", "Replace or remove it")


@dataclass(frozen=True, slots=True)
class Rules:
    """How the pictures of a source are decoded.

    Args:
        orientation: "exif" turns pictures as their camera noted, "stored" leaves them as they are stored (but for
            TIFFs, which the libraries turn).
        intensity: What the numbers of pictures with more than 8 bits mean.
    """

    orientation: Orientation = "exif"
    intensity: Intensity = field(default_factory=Intensity)

    def as_stored(self) -> "Rules":
        """The same, without turning."""
        return replace(self, orientation="stored")


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture, perhaps smaller than it is stored.

    Args:
        pixels: (h, w, 3) RGB, C-contiguous.
        size: (H, W) of the whole picture, turned if its pixels are.
        divisor: h and w are H and W divided by it, rounded up.
        clipped: Whether numbers lay beyond the range that becomes 0 to 255.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    divisor: int = 1
    clipped: bool = False

    @property
    def constant(self) -> bool:
        """Whether all pixels are the same, from which nothing can be learned."""
        first = self.pixels[0, 0]
        # A few rows decide for nearly all pictures.
        step = max(1, len(self.pixels) // 8)
        return bool((self.pixels[::step] == first).all() and (self.pixels == first).all())

    @property
    def oddities(self) -> tuple[str, ...]:
        """What is odd about a picture that could be read, words of `ODDITIES`."""
        return ("constant",) * self.constant + ("clipped",) * self.clipped


def decode_rgb(data: bytes, where: str, rules: Rules = Rules()) -> NDArray[np.uint8]:
    """Decode one encoded picture.

    Args:
        data: The file's bytes in any format of `lowzoo.data.pixels.formats`.
        where: The file's name for the error message.
        rules: How.

    Returns:
        (H, W, 3) RGB, C-contiguous.

    Raises:
        BadImage: Empty, truncated, not a picture, or larger than `MAX_PIXELS`.
    """
    return decode(data, where, rules).pixels


def decode(
    data: bytes, where: str, rules: Rules = Rules(), divisor: Callable[[int, int], int] = lambda height, width: 1
) -> Decoded:
    """Decode one encoded picture, a JPEG perhaps to a half, a quarter or an eighth of its size.

    Each block of 8 x 8 pixels is then transformed back to fewer pixels, which is an antialiased reduction and saves
    time. Only OpenCV does it here.

    Args:
        data: The file's bytes in any format of `lowzoo.data.pixels.formats`.
        where: The file's name for the error message.
        rules: How.
        divisor: Given height and width of the whole picture, says by what both may be divided: 1, 2, 4 or 8.

    Raises:
        BadImage: As `decode_rgb`.
    """
    if not data:
        raise BadImage(where, "it is empty")
    jpeg = plain_jpeg(data)
    cv2 = opencv() if jpeg is not None else None
    if cv2 is not None and jpeg is not None:
        turn, size = jpeg.turn(rules.orientation), jpeg.size(rules.orientation)
        if size[0] * size[1] > MAX_PIXELS:
            raise _too_large(where, jpeg.width, jpeg.height)
        by = divisor(*size)
        mode = cv2.IMREAD_COLOR if by == 1 else getattr(cv2, f"IMREAD_REDUCED_COLOR_{by}")
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), mode | cv2.IMREAD_IGNORE_ORIENTATION)
        if bgr is not None:
            return Decoded(upright(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), turn), size, by)
    found = _read_with_pil(data, where)
    if isinstance(found.content, Wide):
        pixels, clipped = rules.intensity.to_uint8(found.content)
    else:
        pixels, clipped = found.content, False
    if rules.orientation == "exif":
        pixels = upright(pixels, found.orientation)
    return Decoded(pixels, (pixels.shape[0], pixels.shape[1]), clipped=clipped)


def wide_numbers(data: bytes, where: str) -> list[Wide]:
    """The numbers of a picture with more than 8 bits, before they are brought to 8, of all its pages.

    Raises:
        BadImage: As `decode_rgb`.
    """
    content = _read_with_pil(data, where).content
    if not isinstance(content, Wide):
        return []
    if content.values.ndim == 3:
        return [content]
    with Image.open(io.BytesIO(data), formats=decoders()) as image:
        pages = [wide_picture(page, data, opencv(), partial(BadImage, where)) for page in ImageSequence.Iterator(image)]
    return [page for page in pages if page is not None]


@dataclass(frozen=True, slots=True)
class _Read:
    content: NDArray[np.uint8] | Wide
    orientation: int


def _read_with_pil(data: bytes, where: str) -> _Read:
    def damaged(reason: str) -> BadImage:
        return BadImage(where, reason)

    register_heif()
    try:
        with warnings.catch_warnings():
            # The bound that matters is MAX_PIXELS, where PIL raises; its warning at half of that is noise here.
            warnings.simplefilter("ignore")
            # Named, as PIL hands formats such as PostScript to other programs.
            with Image.open(io.BytesIO(data), formats=decoders()) as image:
                # PIL's own check has the same bound, but any library may have switched it off for the whole process.
                if image.width * image.height > MAX_PIXELS:
                    raise _too_large(where, image.width, image.height)
                wide = wide_picture(image, data, opencv(), damaged)
                if wide is None:
                    image.load()
                # Asked after loading: PIL turns a TIFF by itself, and says so by then.
                # And OpenCV turns those that it reads.
                turned = wide is not None and wide.values.ndim == 3 and image.format == "TIFF"
                orientation = UPRIGHT if turned else orientation_of(image)
                return _Read(np.array(_to_rgb(image)) if wide is None else wide, orientation)
    except (MemoryError, BadImage):
        raise
    except Image.DecompressionBombError as error:
        raise BadImage(where, f"it has more than {MAX_PIXELS} pixels") from error
    # PIL's plug-ins raise OSError, SyntaxError, ValueError, struct.error, IndexError... on hostile bytes.
    except Exception as error:
        reason = str(error).replace("\n", " ")
        if "cannot identify image file" in reason:
            if (deep := _float_colour(data, damaged)) is not None:
                return deep
            reason = missing_decoder(data[:HEAD_BYTES]) or "no known image format"
        raise BadImage(where, reason or type(error).__name__) from error


def _float_colour(data: bytes, damaged: Callable[[str], BadImage]) -> _Read | None:
    """A TIFF of float colours, which PIL does not know."""
    cv2 = opencv()
    if cv2 is None or data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    return _Read(deep_colour(data, cv2, damaged), UPRIGHT)


@functools.lru_cache(maxsize=1)
def decoders() -> tuple[str, ...]:
    """The formats that PIL has in this installation."""
    Image.init()
    return tuple(name for name in DECODERS if name in Image.OPEN)


def _too_large(where: str, width: int, height: int) -> BadImage:
    return BadImage(where, f"{width} x {height} is more than {MAX_PIXELS} pixels")


def _to_rgb(image: Image.Image) -> Image.Image:
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


# OpenCV's LOG_LEVEL_SILENT, which 4 does not name.
_SILENT = 0


@functools.lru_cache(maxsize=1)
def opencv() -> ModuleType | None:
    """OpenCV, where it is installed."""
    try:
        import cv2
    except ImportError:
        return None
    # The pool of the parent does not survive a fork, and data workers are one core each anyway.
    cv2.setNumThreads(1)
    # Damaged files are counted and named by whoever reads them. OpenCV 4 has the function at another place than 5.
    silence = cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel
    silence(_SILENT)
    module: ModuleType = cv2
    return module
