"""What must be known to feed a network, as a `pretrained_cfg` of timm states it: each field that changes pixels.

A field that is absent means what timm takes for it. A value that nobody here can follow is refused by name: features of
pictures that were prepared in another way look right and are wrong.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lowzoo.base.errors import LowzooError

FILTERS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
CROP_MODES = ("center", "squash", "border")
LEAST_SIDE, MOST_SIDE = 16, 4096
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

Side = int | tuple[int, int]
"""Pixels of a square, or (H, W)."""


@dataclass(frozen=True, slots=True)
class InputFacts:
    """How pictures become a network's input.

    Args:
        input_size: (C, H, W).
        mean: Mean of the normalisation, C numbers in [0, 1].
        std: Standard deviation of the normalisation, C numbers.
        interpolation: Filter of the resize, one of `FILTERS`.
        crop_pct: Side of the input by the side after resizing; above 1 a border is added.
        crop_mode: "center" resizes until the picture covers size / crop_pct, "border" until it fits into it, "squash"
            resizes both sides to it; then the centre is cropped.
    """

    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_pct: float
    crop_mode: str = "center"


def input_facts(
    cfg: Mapping[str, Any], where: str, *, size: Side | None = None, channels: int | None = None
) -> InputFacts:
    """Read and check a `pretrained_cfg`.

    Args:
        cfg: timm's; further fields are left aside.
        where: The model's name, for messages.
        size: Another size than the configuration's. Its `test_crop_pct` goes with its `test_input_size`.
        channels: That the network has, where the configuration may not know.

    Returns:
        The facts.

    Raises:
        LowzooError: A value that cannot be followed.
    """
    shape = cfg.get("input_size") or (channels or 3, 224, 224)
    if len(shape) != 3 or not all(isinstance(side, int) and side > 0 for side in shape):
        raise _impossible(where, "input_size", shape, "three numbers (channels, height, width)")
    wanted = both_sides(size) if size is not None else (shape[1], shape[2])
    tested = cfg.get("test_input_size")
    crop_pct = cfg.get("crop_pct") or 0.875
    if size is not None and tested and tuple(tested[1:]) == wanted and wanted != tuple(shape[1:]):
        crop_pct = cfg.get("test_crop_pct") or crop_pct
    least = cfg.get("min_input_size")
    if least and (wanted[0] < least[1] or wanted[1] < least[2]):
        raise LowzooError(
            f"{size_text(wanted)} px are too few for {where}, which takes {size_text(least[1:])} px at least",
            "Name a larger size",
        )
    count = channels or shape[0]
    return checked(
        InputFacts(
            (count, *wanted),
            tuple(cfg.get("mean") or _IMAGENET["mean"]),
            tuple(cfg.get("std") or _IMAGENET["std"]),
            cfg.get("interpolation") or "bicubic",
            crop_pct,
            cfg.get("crop_mode") or "center",
        ),
        where,
    )


def checked(facts: InputFacts, where: str) -> InputFacts:
    """Give facts that can be followed; a single mean or deviation is every channel's.

    Raises:
        LowzooError: The first value that cannot be followed, by name.
    """
    channels = facts.input_size[0]
    for name, word, words in (
        ("interpolation", facts.interpolation, FILTERS),
        ("crop_mode", facts.crop_mode, CROP_MODES),
    ):
        if word not in words:
            raise LowzooError(
                f"unknown {name} {word!r} in the configuration of {where}", f"Choose one of: {', '.join(words)}"
            )
    crop_pct = facts.crop_pct
    if not isinstance(crop_pct, int | float) or not math.isfinite(crop_pct) or not 0.1 <= crop_pct <= 10:
        raise _impossible(where, "crop_pct", crop_pct, "a number from 0.1 to 10")
    spread: dict[str, tuple[float, ...]] = {}
    for name, values in (("mean", facts.mean), ("std", facts.std)):
        if len(values) not in (1, channels) or not all(
            isinstance(value, int | float) and math.isfinite(value) for value in values
        ):
            raise _impossible(where, name, values, f"{channels} numbers, one a channel")
        spread[name] = values if len(values) == channels else values * channels
    if 0 in facts.std:
        raise _impossible(where, "std", facts.std, "numbers other than 0")
    return InputFacts(
        facts.input_size, spread["mean"], spread["std"], facts.interpolation, float(crop_pct), facts.crop_mode
    )


def channels_last(shape: Sequence[int], layout: object = None) -> bool | None:
    """Whether an input (B, ., ., .) has its channels last, and not first.

    Args:
        shape: Its four sizes.
        layout: What the file says, "BHWC" or "BCHW"; of other files a size of 3, else of 1, is that of the channels.

    Returns:
        None where nothing tells.
    """
    if layout in ("BHWC", "BCHW"):
        return layout == "BHWC"
    for channels in (3, 1):
        if (shape[1] == channels) != (shape[3] == channels):
            return shape[3] == channels
    return None


def both_sides(size: Side) -> tuple[int, int]:
    """Give (H, W) of a size.

    Raises:
        LowzooError: A side that no network takes.
    """
    sides = (size, size) if isinstance(size, int) else size
    for side in sides:
        if not LEAST_SIDE <= side <= MOST_SIDE:
            raise LowzooError(
                f"an image size of {size_text(sides)} px is impossible",
                f"Name sides between {LEAST_SIDE} and {MOST_SIDE} px",
            )
    return sides


def parse_size(word: str, option: str) -> tuple[int, int]:
    """Read `224`, a square, or `128x256`, height x width.

    Raises:
        LowzooError: Something else, or a side that no network takes.
    """
    parts = word.lower().replace("×", "x").split("x")
    if len(parts) > 2 or not all(part.strip().isascii() and part.strip().isdecimal() for part in parts):
        raise LowzooError(f"{option} {word} is no size", f"Write {option} 224, or height x width, {option} 128x256")
    sides = [int(part) for part in parts]
    return both_sides((sides[0], sides[-1]))


def size_text(size: Side) -> str:
    """Say "224", or "128 x 256", height x width."""
    height, width = (size, size) if isinstance(size, int) else size
    return str(height) if height == width else f"{height} x {width}"


def _impossible(where: str, field: str, value: object, wanted: str) -> LowzooError:
    return LowzooError(
        f"the configuration of {where} sets {field} = {value!r}, which cannot be followed", f"Make it {wanted}"
    )
