"""Where a picture comes to lie in a network's input: timm's three crop modes, in whole pixels.

Sides are rounded as timm and torchvision do it: down where the input is a square and the mode is "center", else to the
nearest even of two equally near numbers.
"""

import math
import operator
from dataclasses import dataclass
from typing import Protocol


class FrameSpec(Protocol):
    """What decides on the geometry; an `InputSpec` is one."""

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(C, H, W) in pixels."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of the normalisation; the colour of borders."""

    @property
    def crop_pct(self) -> float:
        """Side of the input by the side after resizing."""

    @property
    def crop_mode(self) -> str:
        """One of `lowzoo.preprocess.input_facts.CROP_MODES`."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What happens to one picture.

    Args:
        resized: (h, w) that it is resized to.
        top: Row of the resized picture that becomes the input's first; negative where a border comes before it.
        left: The same for columns.
    """

    resized: tuple[int, int]
    top: int
    left: int


def target_size(spec: FrameSpec) -> tuple[int, int]:
    """(H, W) that pictures are resized to cover, to fit into, or to have: the input's by `crop_pct`, rounded down."""
    height, width = spec.input_size[1:]
    return math.floor(height / spec.crop_pct), math.floor(width / spec.crop_pct)


def by_shorter_side(spec: FrameSpec) -> bool:
    """Whether the rule is that of a square: the shorter side gets so many pixels, the longer one is rounded down."""
    height, width = target_size(spec)
    return spec.crop_mode == "center" and height == width


def border_colour(spec: FrameSpec) -> tuple[int, ...]:
    """What a picture is laid on where it leaves some of the input free: 0 to 255 a channel."""
    channels = spec.input_size[0]
    return tuple(round(255 * mean) for mean in spec.mean) if spec.crop_mode == "border" else (0,) * channels


def may_have_border(spec: FrameSpec) -> bool:
    """Whether a picture can leave some of the input free."""
    return spec.crop_mode == "border" or any(map(operator.lt, target_size(spec), spec.input_size[1:]))


def frame(height: int, width: int, spec: FrameSpec) -> Frame:
    """Place a picture of height x width pixels."""
    resized = _resized(height, width, spec)
    return Frame(resized, _offset(resized[0], spec.input_size[1]), _offset(resized[1], spec.input_size[2]))


def _resized(height: int, width: int, spec: FrameSpec) -> tuple[int, int]:
    wanted = target_size(spec)
    if spec.crop_mode == "squash":
        return wanted
    if by_shorter_side(spec):
        longer = int(wanted[0] * max(height, width) / min(height, width))
        return (wanted[0], longer) if height <= width else (longer, wanted[0])
    ratios = height / wanted[0], width / wanted[1]
    ratio = max(ratios) if spec.crop_mode == "border" else min(ratios)
    # A line of pixels stays a line, where timm would make nothing of it.
    return max(1, round(height / ratio)), max(1, round(width / ratio))


def _offset(side: int, wanted: int) -> int:
    return round((side - wanted) / 2) if side >= wanted else -((wanted - side) // 2)
