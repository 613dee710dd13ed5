"""From a decoded picture to the network's input, exactly as timm's evaluation transform does it.

The resize is PIL's (antialiased, on 8 bits), as in the pipelines that the published figures come from.
"""

import math
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lowzoo.errors import LowzooError

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}


class InputSpec(Protocol):
    """What a network wants to be fed; `lowzoo.resolve.Resolved` is one."""

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(3, H, W) in pixels."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Of the normalisation, in [0, 1]."""

    @property
    def std(self) -> tuple[float, ...]:
        """Of the normalisation, in [0, 1]."""

    @property
    def interpolation(self) -> str:
        """Name of the resize filter."""

    @property
    def crop_pct(self) -> float:
        """Side of the centre crop by the shorter side after resizing."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """An `InputSpec` without the network: small enough for data workers and for cache keys.

    With `squash` both sides are resized to the input's, without a crop (tasks where everything must stay visible).
    """

    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_pct: float
    squash: bool = False

    @classmethod
    def of(cls, spec: InputSpec) -> Self:
        """Copy the fields of `spec`.

        Raises:
            LowzooError: Not three channels, or a filter of another name.
        """
        if spec.input_size[0] != 3:
            raise LowzooError(
                f"the model takes {spec.input_size[0]} channels, pictures have 3", "Name a model for RGB pictures"
            )
        if spec.interpolation not in FILTERS:
            raise LowzooError(
                f"unknown interpolation {spec.interpolation!r} in the model's configuration",
                f"Choose one of: {', '.join(FILTERS)}",
            )
        return cls(
            (3, spec.input_size[1], spec.input_size[2]),
            tuple(spec.mean),
            tuple(spec.std),
            spec.interpolation,
            spec.crop_pct,
        )


def to_uint8_input(image: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """Resize the shorter side to size / crop_pct and crop the centre, or squash.

    Args:
        image: (h, w, 3) RGB.
        spec: The network's input.

    Returns:
        (H, W, 3) RGB.
    """
    height, width = spec.input_size[1:]
    if isinstance(spec, Preprocessing) and spec.squash:
        squashed = Image.fromarray(image).resize((width, height), FILTERS[spec.interpolation])
        return np.array(squashed)
    least_height, least_width = math.floor(height / spec.crop_pct), math.floor(width / spec.crop_pct)
    h, w = image.shape[:2]
    # The side that must grow most is met exactly; the other is rounded down as torchvision does.
    if least_height * w >= least_width * h:
        resized = least_height, max(least_width, least_height * w // h)
    else:
        resized = max(least_height, least_width * h // w), least_width
    if resized != (h, w):
        picture = Image.fromarray(image).resize(resized[::-1], FILTERS[spec.interpolation])
        image = np.array(picture)
    top, left = round((resized[0] - height) / 2), round((resized[1] - width) / 2)
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def preprocess(image: NDArray[np.uint8], spec: InputSpec) -> Tensor:
    """Do `to_uint8_input`, then normalise: (h, w, 3) RGB to (3, H, W) float32."""
    pixels = torch.from_numpy(to_uint8_input(image, spec)).permute(2, 0, 1)
    mean, std = torch.tensor(spec.mean).view(3, 1, 1), torch.tensor(spec.std).view(3, 1, 1)
    return pixels.float().div_(255).sub_(mean).div_(std).contiguous()
