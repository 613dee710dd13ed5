"""Pictures with more than 8 bits: what their numbers mean, and how they become 8 bits.

Detectors, microscopes and scanners write 10, 12 or 14 bits into files of 16, and programs write floats in [0, 1] or in
the range of whatever they began with. Which number is white stands in the file only sometimes. The rule `auto` is:

- a range that the file states (TIFF's sample extremes and bits per sample, the maximum of a PGM) counts;
- otherwise one range is found for all pictures of a set that have the same type of number, over all its splits: from 0
  (from the smallest number where there are negative ones) to the end of the smallest usual range that holds them all,
  1 for fractions, else 2^8 - 1, 2^10 - 1, 2^12 - 1, 2^14 - 1, 2^16 - 1 and so on; where no usual range is nearly
  filled, from the smallest to the largest number.

`dtype` takes the type's whole range ([0, 1] for floats), LOW,HIGH what the user says. Numbers beyond the range are
clipped and their pictures counted.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowzoo.base.errors import LowzooError

Range = tuple[float, float]
Kind = Literal["uint8", "uint16", "int16", "int32", "uint32", "float32"]
_WHOLE: dict[str, Range] = {
    "uint8": (0, 255),
    "uint16": (0, 2**16 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "float32": (0, 1),
}
_BITS = range(8, 33, 2)
# A usual range of which less than this is used explains nothing: a maximum of 7 is no 8-bit set.
_LEAST_USED = 1 / 8

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_LOWEST, _HIGHEST, _S_LOWEST, _S_HIGHEST = 280, 281, 340, 341
_WHITE_IS_ZERO = 0


@dataclass(frozen=True, slots=True)
class Wide:
    """The numbers of a picture before they are brought to 8 bits.

    Args:
        values: (H, W) or (H, W, 3) RGB.
        kind: Their type in the file.
        stated: Black and white by the file itself.
        inverted: Whether 0 is white.
    """

    values: NDArray[np.generic]
    kind: Kind
    stated: Range | None = None
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Intensity:
    """How wide pictures of one source become 8 bits.

    Args:
        rule: "auto", "dtype", or black and white.
        measured: Black and white of each type of number in the source, for "auto"; a type that is not among them is
            judged picture by picture.
    """

    rule: Literal["auto", "dtype"] | Range = "auto"
    measured: tuple[tuple[Kind, Range], ...] = ()

    def __str__(self) -> str:
        if isinstance(self.rule, tuple):
            return "{:g},{:g}".format(*self.rule)
        found = "; ".join(f"{kind}: {low:g} to {high:g}" for kind, (low, high) in self.measured)
        return f"{self.rule} ({found})" if found else self.rule

    def whole_range(self, kind: Kind) -> Range:
        """Black and white of a type where the rule is not "auto"."""
        return self.rule if isinstance(self.rule, tuple) else _WHOLE[kind]

    def completed(self, ranges: Mapping[Kind, Range]) -> "Intensity":
        """The same, with ranges for types that nothing is known of yet."""
        known = dict(self.measured)
        more = tuple((kind, found) for kind, found in sorted(ranges.items()) if kind not in known)
        return Intensity(self.rule, (*self.measured, *more))

    def range_of(self, wide: Wide) -> Range:
        """Black and white for a picture."""
        if self.rule != "auto":
            return self.whole_range(wide.kind)
        return wide.stated or dict(self.measured).get(wide.kind) or usual_range(wide.kind, *extremes(wide))

    def to_uint8(self, wide: Wide) -> tuple[NDArray[np.uint8], bool]:
        """Pixels (H, W, 3), and whether numbers beyond the range were clipped."""
        low, high = self.range_of(wide)
        values = wide.values.astype(np.float64)
        clipped = bool(values.min() < low or values.max() > high)
        scaled = np.clip((values - low) * (255 / (high - low)), 0, 255)
        pixels = np.rint(255 - scaled if wide.inverted else scaled).astype(np.uint8)
        return (pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)), clipped


def parse_intensity(word: str) -> Intensity:
    """Read `auto`, `dtype` or `LOW,HIGH`.

    Raises:
        LowzooError: It is none of them.
    """
    if word == "auto":
        return Intensity("auto")
    if word == "dtype":
        return Intensity("dtype")
    try:
        low, high = (float(part) for part in word.split(","))
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError
    except ValueError:
        raise LowzooError(
            f"an intensity of {word!r} is impossible", "Write auto, dtype, or black and white such as 0,4095"
        ) from None
    return Intensity((low, high))


def extremes(wide: Wide) -> Range:
    """The smallest and the largest number of a picture."""
    return float(wide.values.min()), float(wide.values.max())


def usual_range(kind: Kind, low: float, high: float) -> Range:
    """Black and white where nothing but the extremes of the numbers is known; see the top of this file."""
    if kind == "float32" and high <= 1 and max(abs(low), high) >= 1 / 255:
        if low >= 0:
            return 0.0, 1.0
        if low >= -1:
            return -1.0, 1.0
    elif low >= 0 and (kind != "float32" or high > 1):
        top = next((2.0**bits - 1 for bits in _BITS if high <= 2**bits - 1), math.inf)
        if high >= _LEAST_USED * top:
            return 0.0, top
    # A picture of one number alone is black, and reported as constant.
    return (low, high) if high > low else (low, low + 1)


def joint_range(kind: Kind, ranges: Iterable[Range]) -> Range:
    """Black and white for all pictures of a type, from the extremes of each."""
    lows, highs = zip(*ranges, strict=True)
    return usual_range(kind, min(lows), max(highs))


_Damaged = Callable[[str], Exception]


def wide_picture(image: Image.Image, data: bytes, opencv: ModuleType | None, damaged: _Damaged) -> Wide | None:
    """The numbers of a picture that has more than 8 bits; None for all others.

    Pillow drops the lower bytes of 16-bit colours, so those are read by OpenCV.

    Args:
        image: Opened, perhaps not loaded yet.
        data: The file.
        opencv: The module, where it is installed.
        damaged: Makes the error to raise.

    Raises:
        Exception: What `damaged` gives: numbers that are not finite, or colours of 16 bits without OpenCV.
    """
    if _deep_colour(image, data):
        if opencv is None:
            raise damaged("more than 8 bits a colour need OpenCV (pip install 'lowzoo[train]')")
        return deep_colour(data, opencv, damaged)
    tags = getattr(image, "tag_v2", {})
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return None
    image.load()
    values: NDArray[np.generic] = np.asarray(image)
    kind: Kind = "float32" if image.mode == "F" else "uint16" if image.mode.startswith("I;16") else "int32"
    stated: Range | None = None
    if image.format == "PNG":
        kind = "uint16"  # which some releases of Pillow open as 32 bits
    elif image.format in ("PPM", "JPEG2000") and image.mode != "F":
        stated = 0, 2**16 - 1  # both are scaled to it by Pillow
    elif image.format == "TIFF":
        signed = tags.get(_SAMPLE_FORMAT, (1,))[0] == 2
        bits = tags.get(_BITS_PER_SAMPLE, (0,))[0]
        if image.mode == "I" and bits == 16:
            kind = "int16" if signed else "uint16"
        elif image.mode == "I" and not signed:
            kind, values = "uint32", values.view(np.uint32)
        stated = _stated_by_tiff(tags, bits)
    wide = Wide(values, kind, stated, inverted=tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)
    _check_finite(wide.values, damaged)
    return wide


def deep_colour(data: bytes, opencv: ModuleType, damaged: _Damaged) -> Wide:
    """Numbers of a colour picture with more than 8 bits, transparency laid over white."""
    mode = opencv.IMREAD_UNCHANGED
    bgr = opencv.imdecode(np.frombuffer(data, np.uint8), mode)
    if bgr is None or bgr.dtype.name not in _WHOLE or bgr.ndim != 3 or bgr.shape[2] not in (3, 4):
        raise damaged("its numbers are of a type that is not read")
    _check_finite(bgr, damaged)
    kind: Kind = bgr.dtype.name
    if bgr.shape[2] == 4:
        white = _WHOLE[kind][1]
        colours, alpha = bgr[:, :, :3].astype(np.float64), bgr[:, :, 3:].astype(np.float64) / white
        bgr = colours * alpha + white * (1 - alpha)
    return Wide(np.ascontiguousarray(bgr[:, :, ::-1]), kind)


def _deep_colour(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG":
        # Bits and type of colour stand in the first chunk; 0 is grey, which Pillow reads in full.
        return data[24:25] == b"\x10" and data[25:26] != b"\0"
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))
        return len(bits) >= 2 and max(bits) > 8
    return False


def _stated_by_tiff(tags: dict[int, object], bits: int) -> Range | None:
    def first(tag: int) -> float | None:
        value = tags.get(tag)
        value = value[0] if isinstance(value, tuple) and value else value
        return float(value) if isinstance(value, (int, float)) else None

    for low_tag, high_tag in ((_S_LOWEST, _S_HIGHEST), (_LOWEST, _HIGHEST)):
        low, high = first(low_tag), first(high_tag)
        if high is not None and high > (low or 0):
            return low or 0.0, high
    return (0.0, 2.0**bits - 1) if 8 < bits < 16 else None


def _check_finite(values: NDArray[np.generic], damaged: _Damaged) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise damaged(f"{count} of its {values.size} values are not finite numbers")
