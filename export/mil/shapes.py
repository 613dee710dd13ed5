"""Operators of MIL that move, cut, join or repeat values."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lowzoo.export.mil.layers import ints


def reshape(x: Tensor, shape: Tensor) -> Tensor:
    """To `shape`, where 0 keeps a side and -1 is what remains."""
    return x.reshape([x.shape[i] if side == 0 else side for i, side in enumerate(ints(shape))])


def concat(values: Any, axis: Any, interleave: Any = False) -> Tensor:
    """Join along an axis, or take entries of equal parts in turn."""
    parts = values if isinstance(values, list) else [values]
    along = int(axis) % parts[0].ndim
    if bool(interleave):
        return torch.stack(parts, along + 1).flatten(along, along + 1)
    return torch.cat(parts, along)


def split(
    x: Tensor, axis: Tensor, split_sizes: Tensor | None = None, num_splits: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Cut into parts of given sizes, or into equal ones."""
    sizes = ints(split_sizes) if split_sizes is not None else None
    if sizes is None:
        if num_splits is None:
            raise ValueError("neither sizes nor a number of parts")
        sizes = [x.shape[int(axis)] // int(num_splits)] * int(num_splits)
    return tuple(x.split(sizes, int(axis)))


def slice_by_index(
    x: Tensor, begin: Tensor, end: Tensor, stride: Tensor | None = None, begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None, squeeze_mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """x[begin:end:stride] in every dimension; a mask leaves that side open, or drops the dimension."""
    firsts, lasts = ints(begin), ints(end)
    steps = ints(stride) if stride is not None else [1] * x.ndim
    off = [False] * x.ndim
    from_start, to_end, drop = (
        [bool(flag) for flag in mask.reshape(-1)] if mask is not None else off
        for mask in (begin_mask, end_mask, squeeze_mask)
    )
    for axis in reversed(range(x.ndim)):
        size = x.shape[axis]
        if drop[axis]:
            x = x.select(axis, firsts[axis])
            continue
        first, last = None if from_start[axis] else firsts[axis], None if to_end[axis] else lasts[axis]
        # Through a list, because torch knows no steps backwards.
        x = x.index_select(axis, torch.tensor(list(range(size))[first : last : steps[axis]], dtype=torch.int64))
    return x


def squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Drop sides of 1."""
    return x.squeeze(ints(axes)) if axes is not None else x.squeeze()


def expand_dims(x: Tensor, axes: Tensor) -> Tensor:
    """Insert sides of 1 where `axes` of the result are."""
    axes_ = ints(axes)
    total = x.ndim + len(axes_)
    for axis in sorted(axis % total for axis in axes_):
        x = x.unsqueeze(axis)
    return x


def pad(x: Tensor, pad: Tensor, mode: str = "constant", constant_val: Any = 0.0) -> Tensor:
    """Add (before, after) entries to each of the last dimensions, the outermost of them first.

    Args:
        x: What to widen.
        pad: Two counts for each dimension.
        mode: "constant", "reflect" (the edge itself is not repeated) or "replicate".
        constant_val: What is added by "constant".
    """
    counts = ints(pad)
    if len(counts) % 2 or len(counts) > 2 * x.ndim or min(counts, default=0) < 0:
        raise ValueError(f"padding {counts} of {x.ndim} dimensions")
    pairs = list(zip(counts[::2], counts[1::2], strict=True))
    if mode == "constant":
        sides = [count for pair in reversed(pairs) for count in pair]  # torch names the last dimension first
        return functional.pad(x, sides, value=float(constant_val))
    for axis, (before, after) in enumerate(pairs, x.ndim - len(pairs)):
        # By position, because torch reflects and replicates the last three dimensions alone.
        last = x.shape[axis] - 1
        positions = torch.arange(-before, last + 1 + after)
        if mode == "replicate":
            positions = positions.clamp(0, last)
        elif mode == "reflect" and max(before, after) <= last:
            positions = last - (last - positions.abs()).abs()
        else:
            raise ValueError(f"padding {mode!r} by {before} and {after} of a side of {last + 1}")
        x = x.index_select(axis, positions)
    return x


def tile(x: Tensor, reps: Tensor) -> Tensor:
    """Repeat along each dimension."""
    return x.repeat(ints(reps))


def stack(values: Any, axis: Any = 0) -> Tensor:
    """Join along a new axis; numbers become a list."""
    parts = values if isinstance(values, list) else [values]
    return torch.stack(parts, int(axis))


def slice_by_size(x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
    """x[begin : begin + size] in every dimension; -1 is up to the end."""
    for axis, (first, count) in enumerate(zip(ints(begin), ints(size), strict=True)):
        start = first % x.shape[axis] if first < 0 else first
        x = x.narrow(axis, start, x.shape[axis] - start if count == -1 else count)
    return x


def sliding_windows(x: Tensor, axis: Any, size: Any, stride: Any = 1) -> Tensor:
    """All windows along an axis, each a dimension behind it."""
    along = int(axis) % x.ndim
    return x.unfold(along, int(size), int(stride)).movedim(-1, along + 1)


def band_part(x: Tensor, lower: Any = -1, upper: Any = -1) -> Tensor:
    """Zeros outside a band around the diagonal; a width below 0 is all of that side."""
    below, above = int(lower), int(upper)
    row, column = torch.arange(x.shape[-2])[:, None], torch.arange(x.shape[-1])[None]
    keep = ((row - column <= below) | (below < 0)) & ((column - row <= above) | (above < 0))
    return x * keep if x.dtype != torch.bool else x & keep


def reverse(x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Backwards along `axes`, or along all."""
    return x.flip(ints(axes) if axes is not None else list(range(x.ndim)))


def depth_to_space(x: Tensor, block_size: Any) -> Tensor:
    """(N, b b C, H, W) to (N, C, b H, b W): the channels of one place in a block lie together."""
    block, (batch, channels, height, width) = int(block_size), x.shape
    x = x.reshape(batch, block, block, channels // block**2, height, width)
    return x.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * block, width * block)


def space_to_depth(x: Tensor, block_size: Any) -> Tensor:
    """(N, C, b H, b W) to (N, b b C, H, W): the channels of one place in a block lie together."""
    block, (batch, channels, height, width) = int(block_size), x.shape
    x = x.reshape(batch, channels, height // block, block, width // block, block)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(batch, -1, height // block, width // block)


def space_to_batch(x: Tensor, block_shape: Any, paddings: Any) -> Tensor:
    """(N, C, H, W), padded, to (bh bw N, C, H / bh, W / bw): a place in a block becomes a picture."""
    (tall, wide), (top, bottom, left, right) = ints(block_shape), ints(paddings)
    x = functional.pad(x, (left, right, top, bottom))
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height // tall, tall, width // wide, wide)
    return x.permute(3, 5, 0, 1, 2, 4).reshape(-1, channels, height // tall, width // wide)


def batch_to_space(x: Tensor, block_shape: Any, crops: Any) -> Tensor:
    """The way back from `space_to_batch`, then cropped."""
    (tall, wide), (top, bottom, left, right) = ints(block_shape), ints(crops)
    total, channels, height, width = x.shape
    x = x.reshape(tall, wide, total // (tall * wide), channels, height, width).permute(2, 3, 4, 0, 5, 1)
    x = x.reshape(-1, channels, height * tall, width * wide)
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def flatten2d(x: Tensor, axis: Any = 1) -> Tensor:
    """To two dimensions: what stands before the axis, and the rest."""
    sides = list(x.shape)[: int(axis)]
    return x.reshape(int(torch.tensor(sides).prod()) if sides else 1, -1)


def range_1d(start: Any, end: Any, step: Any) -> Tensor:
    """From start up to end, without it."""
    return torch.arange(start.item(), end.item(), step.item())


SHAPES: dict[str, Callable[..., Any]] = {
    "reshape": reshape,
    "transpose": lambda x, perm: x.permute(ints(perm)),
    "concat": concat,
    "split": split,
    "slice_by_index": slice_by_index,
    "squeeze": squeeze,
    "expand_dims": expand_dims,
    "pad": pad,
    "tile": tile,
    "stack": stack,
    "slice_by_size": slice_by_size,
    "sliding_windows": sliding_windows,
    "band_part": band_part,
    "reverse": reverse,
    "depth_to_space": depth_to_space,
    "space_to_depth": space_to_depth,
    "space_to_batch": space_to_batch,
    "batch_to_space": batch_to_space,
    "pixel_shuffle": lambda x, upscale_factor: functional.pixel_shuffle(x, int(upscale_factor)),
    "pixel_unshuffle": lambda x, downscale_factor: functional.pixel_unshuffle(x, int(downscale_factor)),
    "flatten2d": flatten2d,
    "shape": lambda x: torch.tensor(x.shape),
    "fill": lambda shape, value=0.0: torch.full(ints(shape), value.item() if isinstance(value, Tensor) else value),
    "fill_like": lambda ref_tensor, value=0.0: torch.full(
        ref_tensor.shape, value.item() if isinstance(value, Tensor) else value
    ),
    "range_1d": range_1d,
}
