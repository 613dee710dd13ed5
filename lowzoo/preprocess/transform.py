"""From a decoded picture to the network's input, exactly as timm's evaluation transform does it.

The resize is PIL's (antialiased, on 8 bits), as in the pipelines that the published figures come from.
"""

import functools
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lowzoo.base.errors import LowzooError
from lowzoo.preprocess.framing import border_colour, frame
from lowzoo.preprocess.input_facts import FILTERS as NAMES
from lowzoo.preprocess.input_facts import InputFacts, checked

FILTERS = {name: Image.Resampling[name.upper()] for name in NAMES}
# A picture whose resized whole has more times the input's pixels is a strip: the input's part of it is resized alone.
_WHOLE = 1000


class InputSpec(Protocol):
    """What a network wants to be fed; `lowzoo.zoo.resolve.Resolved` is one."""

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(C, H, W) in pixels."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of the normalisation, in [0, 1]."""

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of the normalisation, in [0, 1]."""

    @property
    def interpolation(self) -> str:
        """Name of the resize filter."""

    @property
    def crop_pct(self) -> float:
        """Side of the input by the side after resizing."""

    @property
    def crop_mode(self) -> str:
        """How a picture of other proportions is made to fit, see `lowzoo.preprocess.framing`."""


@dataclass(frozen=True, slots=True)
class Preprocessing(InputFacts):
    """An `InputSpec` without the network: small enough for data workers and for cache keys."""

    @classmethod
    def of(cls, spec: InputSpec) -> Self:
        """Copy the fields of `spec`.

        Raises:
            LowzooError: One that cannot be followed, see `lowzoo.preprocess.input_facts.checked`.
        """
        facts = InputFacts(
            spec.input_size, tuple(spec.mean), tuple(spec.std), spec.interpolation, spec.crop_pct, spec.crop_mode
        )
        found = checked(facts, getattr(spec, "name", "the model"))
        return cls(found.input_size, found.mean, found.std, found.interpolation, found.crop_pct, found.crop_mode)


def to_uint8_input(image: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """Resize and crop as `spec` says.

    Args:
        image: (h, w, 3) RGB, or (h, w, C) with the channels of the network.
        spec: The network's input; one channel is the luma (ITU-R 601) of a picture in colour.

    Returns:
        (H, W, C).

    Raises:
        LowzooError: The picture has other channels than the network.
    """
    placed = frame(image.shape[0], image.shape[1], spec)
    height, width = spec.input_size[1:]
    top, left = max(placed.top, 0), max(placed.left, 0)
    if placed.resized[0] * placed.resized[1] > _WHOLE * height * width:
        part = pixels = _part(image, placed.resized, (top, left), spec)
    else:
        pixels = resize(image, placed.resized, spec)
        part = pixels[top : top + height, left : left + width]
    if part.shape[:2] == (height, width):
        return np.ascontiguousarray(part)
    whole = np.empty((height, width, pixels.shape[2]), np.uint8)
    whole[:] = border_colour(spec)
    top, left = max(-placed.top, 0), max(-placed.left, 0)
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    return whole


def _part(
    image: NDArray[np.uint8], resized: tuple[int, int], corner: tuple[int, int], spec: InputSpec
) -> NDArray[np.uint8]:
    """What the input shows of a strip, without resizing the rest of it: one pass after the other, as of the whole."""
    shape, (height, width) = image.shape[:2], spec.input_size[1:]
    ends = min(corner[0] + height, resized[0]), min(corner[1] + width, resized[1])
    rows, columns = ((corner[i] * shape[i] / resized[i], ends[i] * shape[i] / resized[i]) for i in (0, 1))
    filtered, planes = FILTERS[spec.interpolation], _planes(image, spec.input_size[0])
    height_shrinks_more = (
        shape[0] > shape[1] and resized[0] < shape[0] and shape[1] * resized[0] < resized[1] * shape[0]
    )
    for by_rows in (True, False) if height_shrinks_more and resizes_tall_first() else (False, True):
        if by_rows:
            size, box = (planes[0].width, ends[0] - corner[0]), (0, rows[0], planes[0].width, rows[1])
        else:
            size, box = (ends[1] - corner[1], planes[0].height), (columns[0], 0, columns[1], planes[0].height)
        planes = [plane.resize(size, filtered, box) for plane in planes]
    return np.concatenate([np.atleast_3d(np.asarray(plane)) for plane in planes], axis=2)


def resize(image: NDArray[np.uint8], size: tuple[int, int], spec: InputSpec) -> NDArray[np.uint8]:
    """Bring a picture to the channels of `spec` and to `size` (h, w) by its filter, whatever its proportions.

    Args:
        image: As for `to_uint8_input`.
        size: In pixels.
        spec: The network's input.

    Returns:
        (h, w, C).

    Raises:
        LowzooError: The picture has other channels than the network.
    """
    planes = _planes(image, spec.input_size[0])
    if size != image.shape[:2]:
        planes = [plane.resize(size[::-1], FILTERS[spec.interpolation]) for plane in planes]
    return np.concatenate([np.atleast_3d(np.asarray(plane)) for plane in planes], axis=2)


@functools.cache
def resizes_tall_first() -> bool:
    """Whether this PIL resizes the rows of a tall picture before its columns, as from version 13 on.

    What lies between the two passes is rounded to bytes, so whoever resizes as PIL does has to know.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (61, 40), np.uint8)
    tall = Image.fromarray(pixels)
    both, columns = tall.resize((26, 26), FILTERS["bicubic"]), tall.resize((26, 61), FILTERS["bicubic"])
    return both.tobytes() != columns.resize((26, 26), FILTERS["bicubic"]).tobytes()


def preprocess(image: NDArray[np.uint8], spec: InputSpec) -> Tensor:
    """Do `to_uint8_input`, then normalise: (h, w, C) to (C, H, W) float32."""
    pixels = torch.from_numpy(to_uint8_input(image, spec)).permute(2, 0, 1)
    mean, std = torch.tensor(spec.mean).view(-1, 1, 1), torch.tensor(spec.std).view(-1, 1, 1)
    return pixels.float().div_(255).sub_(mean).div_(std).contiguous()


def _planes(image: NDArray[np.uint8], channels: int) -> list[Image.Image]:
    """What PIL can resize: RGB, or one plane after the other, which is the same."""
    given = image.shape[2]
    if given == 3 and channels == 3:
        return [Image.fromarray(np.ascontiguousarray(image))]
    if given == 3 and channels == 1:
        return [Image.fromarray(np.ascontiguousarray(image)).convert("L")]
    if given != channels:
        raise LowzooError(
            f"the network takes {channels} channels, the picture has {given}", "Name pictures with that many channels"
        )
    return [Image.fromarray(np.ascontiguousarray(image[:, :, channel])) for channel in range(channels)]
