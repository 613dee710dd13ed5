"""Masks as COCO writes them: polygons and run lengths, checked, drawn and made."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowzoo.detection.sets.annotated import is_number

# Sides of an image by which a polygon may leave it.
_FAR = 100


def fault_of(segment: Any, height: int, width: int) -> str:
    """What is wrong with a mask; empty for one that can be drawn.

    Args:
        segment: Polygons, or run lengths, as they stand in an annotation file.
        height: Of the image in pixels.
        width: Of the image in pixels.
    """
    if isinstance(segment, Sequence) and not isinstance(segment, str):
        return _fault_of_polygons(segment, _FAR * max(height, width))
    if not isinstance(segment, Mapping):
        return f"a segmentation that is a {type(segment).__name__}"
    size, counts = segment.get("size"), segment.get("counts")
    if not isinstance(size, Sequence) or list(size) != [height, width]:
        return f"run lengths of size {size} for an image of {[height, width]}"
    if isinstance(counts, str | bytes):
        # Read here first, as the C code that draws them trusts its input.
        counts = _unpacked(counts.encode() if isinstance(counts, str) else counts)
    if not isinstance(counts, Sequence) or not all(isinstance(n, int) and n >= 0 for n in counts):
        return "run lengths that are no whole numbers"
    if sum(counts) != height * width:
        return f"run lengths of {sum(counts)} pixels for an image of {height * width}"
    return ""


def _unpacked(text: bytes) -> list[int]:
    """Run lengths of packed text: 5 bits a letter, differences to the last but one; a negative one where it is none."""
    found: list[int] = []
    value = shift = 0
    for letter in text:
        bits = letter - 48
        if not 0 <= bits < 64:
            return [-1]
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            found.append(value + (found[-2] if len(found) > 2 else 0))
            value = shift = 0
    return [-1] if shift else found


def _fault_of_polygons(polygons: Sequence[Any], most: float) -> str:
    if not polygons:
        return "no polygon"
    for polygon in polygons:
        if not isinstance(polygon, Sequence) or isinstance(polygon, str):
            return "a polygon that is no list of numbers"
        if len(polygon) < 6 or len(polygon) % 2:
            return f"a polygon of {len(polygon)} numbers"
        if not all(map(is_number, polygon)):
            return "a polygon that holds something else than numbers"
        # Filling one takes memory by the length of its sides.
        if (reach := max(map(abs, polygon))) > most:
            return f"a polygon that reaches to {reach:g}, far beyond its image"
    return ""


def draw(segment: Any, size: tuple[int, int], shown: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """A mask (h, w) of 0 and 1.

    Args:
        segment: Without a fault.
        size: (height, width) of the image that it belongs to.
        shown: (h, w) to draw it at, that of the image if None; polygons are scaled before they are filled.
    """
    height, width = shown or size
    if isinstance(segment, Sequence):
        scale = np.tile([width / size[1], height / size[0]], 1)
        scaled = [(np.asarray(p, float).reshape(-1, 2) * scale).ravel().tolist() for p in segment]
        coco = _coco()
        found: NDArray[np.uint8] = coco.decode(coco.merge(coco.frPyObjects(scaled, height, width)))
        return found
    whole: NDArray[np.uint8] = _coco().decode(_packed(segment, *size))
    if (height, width) == size:
        return whole
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in ((height, size[0]), (width, size[1])))
    chosen: NDArray[np.uint8] = whole[rows[:, None], columns[None]]
    return chosen


def encode(mask: NDArray[np.uint8]) -> dict[str, Any]:
    """Run lengths of a mask (H, W) of 0 and 1; the counts are text, as JSON takes it."""
    packed = dict(_coco().encode(np.asfortranarray(mask)))
    if isinstance(packed["counts"], bytes):
        packed["counts"] = packed["counts"].decode()
    return packed


def packed(segment: Any, height: int, width: int) -> dict[str, Any]:
    """Run lengths of any mask without a fault."""
    if isinstance(segment, Sequence):
        coco = _coco()
        merged: dict[str, Any] = coco.merge(coco.frPyObjects([list(map(float, p)) for p in segment], height, width))
        return merged
    return _packed(segment, height, width)


def area(segment: Any, height: int, width: int) -> float:
    """Pixels of a mask."""
    return float(_coco().area(packed(segment, height, width)))


def _packed(segment: Mapping[str, Any], height: int, width: int) -> dict[str, Any]:
    if isinstance(segment["counts"], str | bytes):
        return {"size": [height, width], "counts": segment["counts"]}
    made: dict[str, Any] = _coco().frPyObjects(dict(segment), height, width)
    return made


def _coco() -> Any:
    from faster_coco_eval.core import mask

    return mask
