"""What becomes of an image and its objects in training: mirrored, larger or smaller, and in other colours.

Sizes and colours are left alone unless a setting asks for them: they are for long runs. In one of twenty minutes a
backbone that starts with little learns too little from images that never come back alike.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

# Of an object that a crop cuts, the least fraction of its box that is still called the object.
_VISIBLE = 0.25
# The hue shifts by at most an eighth of the colour jitter, in turns.
_HUE = 1 / 8


@dataclass(frozen=True)
class Change:
    """What is drawn for one image.

    Args:
        flip: Whether it is mirrored.
        scale: How much larger it is than at rest; of a larger one a part as large as at rest is cut out.
        place: Where that part lies: 0 at the top and left, 1 at the bottom and right.
        colors: Factors of brightness, contrast and saturation, and the shift of the hue in turns; none if empty.
    """

    flip: bool = False
    scale: float = 1.0
    place: tuple[float, float] = (0.0, 0.0)
    colors: tuple[float, ...] = ()

    def sizes(self, rest: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """The whole image's (h, w), and those of the part that is seen, of an image that is `rest` at rest."""
        whole = max(1, round(rest[0] * self.scale)), max(1, round(rest[1] * self.scale))
        return whole, (min(whole[0], rest[0]), min(whole[1], rest[1]))

    def cut(self, whole: tuple[int, int], seen: tuple[int, int]) -> tuple[int, int]:
        """Row and column at which the part that is seen begins."""
        row, column = (round(at * (all_ - part)) for at, all_, part in zip(self.place, whole, seen, strict=True))
        return row, column


@dataclass(frozen=True)
class Augmentation:
    """What changes are drawn from.

    Args:
        flip: Whether images are mirrored, half of them.
        scale: Least and largest scale; its logarithm is uniform.
        color: How far brightness, contrast and saturation may be from 1; 0 leaves colours alone.
    """

    flip: bool = True
    scale: tuple[float, float] = (1.0, 1.0)
    color: float = 0.0

    def draw(self, flip: bool, random: np.random.Generator) -> Change:
        """One change; `flip` was drawn already."""
        low, high = np.log(self.scale)
        scale = float(np.exp(random.uniform(low, high))) if high > low else float(self.scale[0])
        place = (float(random.random()), float(random.random()))
        if not self.color:
            return Change(flip and self.flip, scale, place)
        factors = random.uniform(1 - self.color, 1 + self.color, 3)
        hue = random.uniform(-1, 1) * _HUE * self.color
        return Change(flip and self.flip, scale, place, (*map(float, factors), float(hue)))


def recolored(pixels: NDArray[np.uint8], colors: tuple[float, ...]) -> NDArray[np.uint8]:
    """An image (H, W, 3) with other brightness, contrast, saturation and hue."""
    if not colors:
        return pixels
    image = Image.fromarray(pixels)
    for kind, factor in zip((ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), colors, strict=False):
        image = kind(image).enhance(factor)
    hue, saturation, value = image.convert("HSV").split()
    turned = (np.asarray(hue).astype(np.int16) + round(255 * colors[3])).astype(np.uint8)
    return np.asarray(Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert("RGB"))


def clipped(boxes: NDArray[np.float32], size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes (M, 4) within (h, w), and which of them (M,) are still to be found: a fourth of the box, a pixel wide."""
    inside = boxes.copy()
    inside[:, 0::2] = boxes[:, 0::2].clip(0, size[1])
    inside[:, 1::2] = boxes[:, 1::2].clip(0, size[0])
    own, left = (np.maximum(each[:, 2:] - each[:, :2], 0) for each in (boxes, inside))
    return inside, (left.min(1) >= 1) & (left.prod(1) >= _VISIBLE * own.prod(1))
