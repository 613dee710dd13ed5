"""Compressed weights of MIL: integers with scales, and palettes. Decompressed once when a program is loaded."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowzoo.export.mil.layers import ints
from lowzoo.export.mil.values import MilError, unpack_bits


def affine_dequantize(quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: Tensor) -> Tensor:
    """(data - zero_point) scale, one of each for every index of `axis` or one for all."""
    sides = [1] * quantized_data.ndim
    sides[int(axis)] = -1
    return (quantized_data - zero_point.reshape(sides)).float() * scale.reshape(sides)


def blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """(data - offset) scale, where each entry of scale and offset covers a block of data."""

    def expanded(x: Tensor) -> Tensor:
        for axis, (side, whole) in enumerate(zip(x.shape, data.shape, strict=True)):
            x = x.repeat_interleave(whole // side, axis)
        return x

    shifted = data.float() if offset is None else data.float() - expanded(offset).float()
    return shifted * expanded(scale)


def lut_to_dense(indices: Tensor, lut: Tensor, shape: Tensor | None = None, vector_axis: Any = None) -> Tensor:
    """Look every index up in a palette.

    Before iOS 18 `indices` are packed bytes, `lut` (2^bits,) and `shape` that of the result. Since then `indices` have
    the shape of the result and `lut` (..., 2^bits, 1) has a palette for each block of them.
    """
    if shape is not None:
        sides = ints(shape)
        packed = indices.reshape(-1).numpy().astype(np.uint8)
        numbers = unpack_bits(packed, int(lut.numel() - 1).bit_length(), int(np.prod(sides)))
        return lut[torch.from_numpy(numbers)].reshape(sides)
    if lut.shape[-1] != 1 or vector_axis is not None:
        raise MilError("palettes of vectors are not known", "Export it again with palettes of numbers")
    palettes = lut[..., 0]
    for axis, (side, whole) in enumerate(zip(palettes.shape, indices.shape, strict=False)):
        if side != 1:
            palettes = palettes.repeat_interleave(whole // side, axis)
        else:
            palettes = palettes.expand(*palettes.shape[:axis], whole, *palettes.shape[axis + 1 :])
    return palettes.gather(-1, indices[..., None])[..., 0]


COMPRESSED: dict[str, Callable[..., Any]] = {
    "constexpr_affine_dequantize": affine_dequantize,
    "constexpr_blockwise_shift_scale": blockwise_shift_scale,
    "constexpr_lut_to_dense": lut_to_dense,
    "constexpr_cast": lambda source_val, output_dtype: source_val,
}
