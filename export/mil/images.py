"""Operators of MIL that resize pictures (..., H, W) or read them at given places.

Where the points lie in a side of n that becomes m, by the words of Core ML's specification:
    STRICT_ALIGN_CORNERS   i (n - 1) / (m - 1)
    ALIGN_CORNERS          the same, but (n - 1) / 2 where m is 1
    DEFAULT                i n / m
    OFFSET_CORNERS         (i + 1/2) max(1, n - 1) / m
    UNALIGN_CORNERS        (i + 1/2) n / m - 1/2
each held within 0 to n - 1.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lowzoo.export.mil.layers import ints


def points(side: int, wanted: int, mode: str) -> Tensor:
    """Where in a side of n pixels the m wanted ones are read: (m,) float64."""
    i = torch.arange(wanted, dtype=torch.float64)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if wanted == 1:
            found = torch.full((1,), (side - 1) / 2 if mode == "ALIGN_CORNERS" else 0.0, dtype=torch.float64)
        else:
            found = i * (side - 1) / (wanted - 1)
    elif mode == "DEFAULT":
        found = i * side / wanted
    elif mode == "OFFSET_CORNERS":
        found = (i + 0.5) * max(1, side - 1) / wanted
    elif mode == "UNALIGN_CORNERS":
        found = (i + 0.5) * side / wanted - 0.5
    else:
        raise ValueError(f"points by {mode!r}")
    return found.clamp(0, side - 1)


def linear_along(x: Tensor, axis: int, at: Tensor) -> Tensor:
    """Read along an axis at places between its entries, by straight lines."""
    low = at.floor().long()
    share = (at - low).to(x.dtype)
    share = share.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
    high = (low + 1).clamp(max=x.shape[axis] - 1)
    return x.index_select(axis, low) * (1 - share) + x.index_select(axis, high) * share


def resized(x: Tensor, sides: list[int], mode: str, *, nearest: bool = False) -> Tensor:
    """Resize the last dimensions, one after the other."""
    for axis, wanted in enumerate(sides, x.ndim - len(sides)):
        at = points(x.shape[axis], wanted, mode)
        if nearest:
            # To the left of the point where it begins with the pixel, to the nearest centre elsewhere.
            at = at.floor() if mode == "DEFAULT" else (at + 0.5).floor()
            x = x.index_select(axis, at.long())
        else:
            x = linear_along(x, axis, at)
    return x


def upsample_nearest_neighbor(x: Tensor, scale_factor_height: Any = 1, scale_factor_width: Any = 1) -> Tensor:
    """Repeat pixels; the sides are cut to whole numbers."""
    return resized(x, _scaled(x, scale_factor_height, scale_factor_width), "DEFAULT", nearest=True)


def upsample_bilinear(
    x: Tensor, scale_factor_height: Any = 1, scale_factor_width: Any = 1, align_corners: Any = True,
    half_pixel_centers: Any = None,
) -> Tensor:  # fmt: skip
    """Resize by straight lines, with the scale that the resulting side has."""
    aligned = bool(align_corners)
    centred = not aligned if half_pixel_centers is None else bool(half_pixel_centers)
    if aligned and centred:
        raise ValueError("corners that are aligned and centres of half a pixel")
    mode = "STRICT_ALIGN_CORNERS" if aligned else "UNALIGN_CORNERS" if centred else "DEFAULT"
    return resized(x, _scaled(x, scale_factor_height, scale_factor_width), mode)


def resize(
    x: Tensor, shape: Tensor, resized_dims: Any, interpolation_mode: str = "LINEAR", sampling_mode: str = "DEFAULT"
) -> Tensor:
    """Resize the last `resized_dims` dimensions to the last numbers of `shape`, where 0 keeps a side."""
    count = int(resized_dims)
    kept = list(x.shape[x.ndim - count :])
    sides = [side or own for side, own in zip(ints(shape)[len(ints(shape)) - count :], kept, strict=True)]
    return resized(x, sides, sampling_mode, nearest=interpolation_mode == "NEAREST_NEIGHBOR")


def crop(x: Tensor, crop_height: Any, crop_width: Any) -> Tensor:
    """Cut borders off: (before, after) of each side."""
    (top, bottom), (left, right) = ints(crop_height), ints(crop_width)
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def resample(
    x: Tensor, coordinates: Tensor, sampling_mode: str, padding_mode: str, padding_value: Any, coordinates_mode: str,
    align_corners: Any,
) -> Tensor:  # fmt: skip
    """Read (B, C, H, W) at coordinates (B, H', W', 2), each (x, y)."""
    size = torch.tensor([x.shape[-1], x.shape[-2]], dtype=torch.float32)
    places = coordinates.float()
    aligned = bool(align_corners)
    if coordinates_mode == "unnormalized":
        places, aligned = 2 * places / (size - 1).clamp(min=1) - 1, True
    elif coordinates_mode == "normalized_zero_to_one":
        places = 2 * places - 1
    elif coordinates_mode != "normalized_minus_one_to_one":
        raise ValueError(f"coordinates {coordinates_mode!r}")
    padding = {"constant": "zeros", "border": "border", "reflection": "reflection"}.get(padding_mode)
    if padding is None or (padding == "reflection" and not aligned):
        raise ValueError(f"padding {padding_mode!r}")
    value = float(padding_value) if padding == "zeros" else 0.0
    found = functional.grid_sample(x - value, places, sampling_mode, padding, align_corners=aligned)
    return found + value


def affine(
    x: Tensor, transform_matrix: Tensor, output_height: Any, output_width: Any, sampling_mode: str, padding_mode: str,
    padding_value: Any, coordinates_mode: str, align_corners: Any,
) -> Tensor:  # fmt: skip
    """Read a picture at the places that an affine map gives; coordinates from -1 to 1."""
    matrix = transform_matrix.reshape(-1, 2, 3).expand(len(x), 2, 3)
    shape = [len(x), x.shape[1], int(output_height), int(output_width)]
    places = functional.affine_grid(matrix, shape, align_corners=bool(align_corners))
    return resample(x, places, sampling_mode, padding_mode, padding_value, coordinates_mode, align_corners)


def _scaled(x: Tensor, height: Any, width: Any) -> list[int]:
    # A factor of float32 may fall short of the side that it was made from.
    return [math.floor(float(each) * side + 1e-4) for each, side in zip((height, width), x.shape[-2:], strict=True)]


IMAGES: dict[str, Callable[..., Any]] = {
    "upsample_nearest_neighbor": upsample_nearest_neighbor,
    "upsample_bilinear": upsample_bilinear,
    "resize_nearest_neighbor": lambda x, target_size_height, target_size_width: resized(
        x, [int(target_size_height), int(target_size_width)], "DEFAULT", nearest=True
    ),
    "resize_bilinear": lambda x, target_size_height=1, target_size_width=1, sampling_mode="DEFAULT": resized(
        x, [int(target_size_height), int(target_size_width)], sampling_mode
    ),
    "resize": resize,
    "crop": crop,
    "resample": resample,
    "affine": affine,
}
