"""Operators of MIL that move, cut, join or fold values."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lowzoo.export.mil.layers import ints


def reshape(x: Tensor, shape: Tensor) -> Tensor:
    """To `shape`, where 0 keeps a side and -1 is what remains."""
    return x.reshape([x.shape[i] if side == 0 else side for i, side in enumerate(ints(shape))])


def concat(values: list[Tensor], axis: Tensor, interleave: Any = False) -> Tensor:
    """Join along an axis."""
    if bool(interleave):
        raise ValueError("interleaved concatenation")
    return torch.cat(values, int(axis))


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


def _reduced(x: Tensor, fold: Callable[..., Tensor], axes: Tensor | None, keep_dims: Any) -> Tensor:
    return fold(x, ints(axes) if axes is not None else list(range(x.ndim)), keepdim=bool(keep_dims))


def reduce_mean(x: Tensor, axes: Tensor | None = None, keep_dims: Any = False) -> Tensor:
    """Mean over `axes`."""
    return _reduced(x, torch.mean, axes, keep_dims)


def reduce_sum(x: Tensor, axes: Tensor | None = None, keep_dims: Any = False) -> Tensor:
    """Sum over `axes`."""
    return _reduced(x, torch.sum, axes, keep_dims)


def reduce_max(x: Tensor, axes: Tensor | None = None, keep_dims: Any = False) -> Tensor:
    """Largest over `axes`."""
    return _reduced(x, torch.amax, axes, keep_dims)


SHAPES: dict[str, Callable[..., Any]] = {
    "reshape": reshape,
    "transpose": lambda x, perm: x.permute(ints(perm)),
    "concat": concat,
    "split": split,
    "slice_by_index": slice_by_index,
    "squeeze": squeeze,
    "expand_dims": expand_dims,
    "pad": pad,
    "reduce_mean": reduce_mean,
    "reduce_sum": reduce_sum,
    "reduce_max": reduce_max,
}
