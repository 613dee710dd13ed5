"""A file's channels for a network's: colour for three, luma for one, the file's own bands for any other number.

A network of one channel gets the luma of whatever the picture is. One of C other channels gets a file's C bands, in
their order: those of all pages of a TIFF one after the other (a page a band, as multispectral cameras write it, or RGB
and an infrared page), the four of an RGBA file. A file with another number of bands is none of its pictures, as nobody
can say which of them are meant.
"""

import io
import warnings
from collections.abc import Callable
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from lowzoo.data.pixels.decode import MAX_PIXELS, BadImage, Decoded, Rules, decode, decoders, opencv
from lowzoo.data.pixels.formats import register_heif
from lowzoo.data.pixels.intensity import Wide, extremes, joint_range, wide_picture
from lowzoo.data.pixels.orientation import UPRIGHT, orientation_of, upright

_BANDED = ("L", "LA", "RGB", "RGBA", "CMYK", "1")


def decode_channels(
    data: bytes,
    where: str,
    channels: int,
    rules: Rules = Rules(),
    divisor: Callable[[int, int], int] = lambda height, width: 1,
) -> Decoded:
    """Decode a picture for a network of so many channels.

    Args:
        data: The file's bytes.
        where: The file's name for the error message.
        channels: Number of channels that the network takes.
        rules: How; bands with more than 8 bits of one file share a range.
        divisor: See `decode`; bands are never decoded smaller.

    Returns:
        Pixels (h, w, 3) RGB for 1 and 3 channels, which `to_uint8_input` makes luma of, else (h, w, channels).

    Raises:
        BadImage: It cannot be decoded, or has other bands.
    """
    if channels in (1, 3):
        return decode(data, where, rules, divisor)
    register_heif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=decoders()) as image:
                if image.width * image.height * channels > 3 * MAX_PIXELS:
                    raise BadImage(where, f"{image.width} x {image.height} x {channels} is too large")
                # No more pages than can be meant: a hostile file may have millions.
                pages = islice(ImageSequence.Iterator(image), channels + 1)
                bands = [_bands(page, data, where) for page in pages]
                turn = orientation_of(image) if rules.orientation == "exif" else UPRIGHT
    except (MemoryError, BadImage):
        raise
    # PIL's plug-ins raise OSError, SyntaxError, ValueError, struct.error, IndexError... on hostile bytes.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise BadImage(where, reason if "cannot identify" not in reason else "no known format of bands") from error
    sizes = {(band.values if isinstance(band, Wide) else band).shape[:2] for band in bands}
    if len(sizes) > 1:
        raise BadImage(where, f"its pages have {len(sizes)} different sizes")
    eight_bits, clipped = _to_eight_bits(bands, rules)
    pixels = upright(np.concatenate(eight_bits, axis=2), turn)
    if pixels.shape[2] != channels:
        raise BadImage(where, f"it has {pixels.shape[2]} bands, and the network takes {channels}")
    return Decoded(pixels, (pixels.shape[0], pixels.shape[1]), clipped=clipped)


def of_colours(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Stand-in for pictures that nobody has: the three colours, repeated for as many channels.

    Enough to run a network on values like those of pictures, as comparing a file with PyTorch and timing need.

    Args:
        image: (h, w, 3) RGB.
        channels: Number of channels that the network takes.

    Returns:
        (h, w, 3) for 1 and 3 channels, else (h, w, channels).
    """
    return image if channels in (1, 3) else image[:, :, np.arange(channels) % 3]


def _to_eight_bits(bands: list[NDArray[np.uint8] | Wide], rules: Rules) -> tuple[list[NDArray[np.uint8]], bool]:
    """All bands in 8 bits, and whether numbers beyond the range were clipped."""
    wide = [band for band in bands if isinstance(band, Wide)]
    intensity = rules.intensity.completed(
        {
            kind: joint_range(kind, [extremes(band) for band in wide if band.kind == kind])
            for kind in {b.kind for b in wide}
        }
    )
    found, clipped = [], False
    for band in bands:
        if isinstance(band, Wide):
            pixels, beyond = intensity.to_uint8(band)
            found.append(pixels[:, :, :1])
            clipped = clipped or beyond
        else:
            found.append(band)
    return found, clipped


def _bands(page: Image.Image, data: bytes, where: str) -> NDArray[np.uint8] | Wide:
    wide = wide_picture(page, data, opencv(), lambda reason: BadImage(where, reason))
    if wide is not None:
        if wide.values.ndim == 3:
            raise BadImage(where, "its bands have more than 8 bits a colour, which no network of bands takes")
        return wide
    if page.mode not in _BANDED:
        raise BadImage(where, f"its bands are of the kind {page.mode}, which no network takes as bytes")
    return np.atleast_3d(np.asarray(page.convert("L") if page.mode == "1" else page))
