"""A file's channels for a network's: colour for three, luma for one, the file's own bands for any other number.

A network of one channel gets the luma of whatever the picture is. One of C other channels gets a file's C bands, as
they are stored and in their order: those of all pages of a TIFF one after the other (a page a band, as multispectral
cameras write it, or RGB and an infrared page), the four of an RGBA file. A file with another number of bands is none of
its pictures, as nobody can say which of them are meant.
"""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from lowzoo.data.decode import MAX_PIXELS, BadImage, decode_rgb

# Bands of 16 bits keep their upper 8, as pictures in grey do.
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_BANDED = ("L", "LA", "RGB", "RGBA", "CMYK", "1")


def decode_channels(data: bytes, where: str, channels: int) -> NDArray[np.uint8]:
    """Decode a picture for a network of so many channels.

    Args:
        data: The file's bytes.
        where: The file's name for the error message.
        channels: Of the network.

    Returns:
        (h, w, 3) RGB for 1 and 3 channels, which `to_uint8_input` makes luma of, else (h, w, channels).

    Raises:
        BadImage: It cannot be decoded, or has other bands.
    """
    if channels in (1, 3):
        return decode_rgb(data, where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                if image.width * image.height * channels > 3 * MAX_PIXELS:
                    raise BadImage(where, f"{image.width} x {image.height} x {channels} is too large")
                bands = [_bands(page, where) for page in ImageSequence.Iterator(image)]
    except BadImage:
        raise
    # PIL's plug-ins raise OSError, SyntaxError, ValueError, struct.error, IndexError... on hostile bytes.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise BadImage(where, reason if "cannot identify" not in reason else "no known format of bands") from error
    sizes = {band.shape[:2] for band in bands}
    if len(sizes) > 1:
        raise BadImage(where, f"its pages have {len(sizes)} different sizes")
    found = np.concatenate(bands, axis=2)
    if found.shape[2] != channels:
        raise BadImage(where, f"it has {found.shape[2]} bands, and the network takes {channels}")
    return found


def of_colours(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Stand-in for pictures that nobody has: the three colours, repeated for as many channels.

    Enough to run a network on values like those of pictures, as comparing a file with PyTorch and timing need.

    Args:
        image: (h, w, 3) RGB.
        channels: Of the network.

    Returns:
        (h, w, 3) for 1 and 3 channels, else (h, w, channels).
    """
    return image if channels in (1, 3) else image[:, :, np.arange(channels) % 3]


def _bands(page: Image.Image, where: str) -> NDArray[np.uint8]:
    if page.mode in _DEEP:
        return (np.asarray(page).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)[:, :, None]
    if page.mode not in _BANDED:
        raise BadImage(where, f"its bands are of the kind {page.mode}, which no network takes as bytes")
    return np.atleast_3d(np.asarray(page.convert("L") if page.mode == "1" else page))
