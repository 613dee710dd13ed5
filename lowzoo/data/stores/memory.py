"""Pictures that a program holds: PIL images, arrays and tensors.

Each is written as a PNG or TIFF, which keeps every bit, when it is asked for; so they are read, identified and fed by
the rules of pictures that lie in files. A PIL image keeps the orientation that its camera noted.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.data.reading.found import Found
from lowzoo.data.reading.reader import Opened

# The quickest level that still packs: the bytes live for as long as it takes to decode them.
_COMPRESSION = 1
# PNG has these, and TIFF those with more bits; anything else is converted to colours, with what transparency it has.
_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")
_DEEP = ("I", "F", "I;16B", "I;16L")
_PLAIN = {"RGBa": "RGBA", "La": "LA", "PA": "RGBA"}
_REMEDY = "Give (H, W, 3) or (H, W) uint8 arrays, tensors (3, H, W) of uint8 or of floats in 0 to 1, or PIL images"


@dataclass(frozen=True, slots=True, eq=False)
class MemoryReader:
    """Gives picture `index` of those that are held.

    Args:
        images: The pictures.
        names: Their names, for messages.
    """

    images: tuple[Image.Image, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def encoded(self, index: int) -> bytes:
        """Give picture `index` as a PNG, or as a TIFF if it has numbers that no PNG has.

        Raises:
            LowzooError: Nothing can be made of its mode.
        """
        image, file = self.images[index], io.BytesIO()
        exif = image.getexif()
        noted = {"exif": exif} if exif else {}
        try:
            if image.mode in _DEEP:
                image.save(file, "TIFF", **noted)
            else:
                if image.mode not in _MODES:
                    image = image.convert(_PLAIN.get(image.mode, "RGB"))
                image.save(file, "PNG", compress_level=_COMPRESSION, **noted)
        except (ValueError, OSError) as error:
            raise LowzooError(
                f"{self.names[index]} is a PIL image of mode {self.images[index].mode} ({reason_of(error)})", _REMEDY
            ) from error
        return file.getvalue()

    def where(self, index: int) -> str:
        """Name picture `index`."""
        return self.names[index]

    def fingerprint(self) -> str:
        """Digest the pictures."""
        digest = sha256()
        for index in range(len(self)):
            content = self.encoded(index)
            digest.update(len(content).to_bytes(8) + content)
        return digest.hexdigest()


def open_memory(
    images: Sequence[Any], labels: Sequence[int] | None = None, class_names: Sequence[str] | None = None
) -> Opened:
    """Take pictures that a program holds.

    Args:
        images: PIL images, arrays (H, W, 3) or (H, W) of uint8, or tensors (3, H, W) of uint8 or of floats in 0 to 1;
            one array or tensor with a further dimension in front is a batch of them.
        labels: Class number of each; None for pictures without classes.
        class_names: What the numbers mean.

    Raises:
        LowzooError: There are none, or something among them is no picture; or not as many labels.
    """
    if not len(images):
        raise LowzooError("there are no images", "Give at least one")
    _refuse_one_picture(images)
    found = tuple(_picture(image, f"image {index}") for index, image in enumerate(_items(images)))
    if labels is not None and len(labels) != len(found):
        raise LowzooError(f"{len(found)} images have {len(labels)} labels", "Give a label for each")
    numbers = None if labels is None else np.asarray(labels, np.int64)
    names = tuple(f"image {index}" for index in range(len(found)))
    return Opened(
        MemoryReader(found, names),
        numbers,
        None if class_names is None else tuple(class_names),
        Found.of(len(found)),
    )


def _refuse_one_picture(images: Any) -> None:
    """An array or tensor of three dimensions is a batch of grey pictures, and may be meant as one picture of colours.

    Raises:
        LowzooError: By its shape it may be one.
    """
    shape = tuple(getattr(images, "shape", ()))
    of_tensor = hasattr(images, "detach")
    if len(shape) == 3 and (shape[0] in (3, 4) if of_tensor else shape[2] in (1, 3, 4)):
        raise LowzooError(
            f"an array of shape {shape} is one picture, or a batch of grey ones",
            "Give a list: [picture], or list(batch)",
        )


def _items(images: Any) -> Iterator[Any]:
    """As many as its length says; a dataset that is asked by number may have an answer to any number.

    Raises:
        LowzooError: One of them cannot be had.
    """
    count = len(images)
    items = iter(images) if hasattr(type(images), "__iter__") else map(images.__getitem__, range(count))
    for index in range(count):
        try:
            item = next(items)
        except StopIteration:
            raise LowzooError(f"of {count} images there are {index}", "Give as many as the length says") from None
        except Exception as error:
            raise LowzooError(f"image {index} cannot be had: {reason_of(error)}", "Mend what gives it") from error
        yield item


def _picture(image: Any, where: str) -> Image.Image:
    if isinstance(image, Image.Image):
        image.load()  # a picture that is still in its file could not be handed to another process
        return image
    if hasattr(image, "detach"):
        pixels = image.detach().cpu().numpy()
        if pixels.ndim == 3:
            pixels = pixels.transpose(1, 2, 0)
    elif isinstance(image, np.ndarray):
        pixels = image
    else:
        raise LowzooError(f"{where} is a {type(image).__name__}, which is no picture", _REMEDY)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))) or 0 in pixels.shape:
        raise LowzooError(f"{where} has the shape {tuple(image.shape)}, which is no picture", _REMEDY)
    return Image.fromarray(np.ascontiguousarray(_bytes(pixels, where)))


def _bytes(pixels: NDArray[Any], where: str) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    if not np.issubdtype(pixels.dtype, np.floating):
        raise LowzooError(f"{where} has numbers of type {pixels.dtype}", _REMEDY)
    low, high = float(np.min(pixels)), float(np.max(pixels))
    if not 0 <= low <= high <= 1:  # nor is a NaN
        raise LowzooError(
            f"{where} has floats from {low:g} to {high:g}, not in 0 to 1", "Give it before any normalisation"
        )
    found: NDArray[np.uint8] = np.rint(pixels * 255).astype(np.uint8)
    return found
