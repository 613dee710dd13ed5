"""Operators of MIL that fold dimensions into one value each, or run along one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lowzoo.export.mil.layers import ints


def reduction(fold: Callable[[Tensor, list[int], bool], Tensor]) -> Callable[..., Tensor]:
    """The operator that folds `axes`, or all of them.

    Args:
        fold: Takes x, axes, and whether they stay as sides of 1.
    """

    def reduce(x: Tensor, axes: Tensor | None = None, keep_dims: Any = False) -> Tensor:
        return fold(x, ints(axes) if axes is not None else list(range(x.ndim)), bool(keep_dims))

    return reduce


def product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    """Product over several axes, which torch takes one at a time."""
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def extreme(x: Tensor, largest: bool, axis: Any, keep_dims: Any) -> Tensor:
    """Where along an axis the largest or the smallest value is, the first of equal ones."""
    return (x.argmax if largest else x.argmin)(int(axis), keepdim=bool(keep_dims))


def cumsum(x: Tensor, axis: Any = 0, exclusive: Any = False, reverse: Any = False) -> Tensor:
    """Sums up to each entry along an axis: with it or, if exclusive, without; from the end, if reverse."""
    along = int(axis)
    x = x.flip(along) if bool(reverse) else x
    total = x.cumsum(along)
    total = total - x if bool(exclusive) else total
    return total.flip(along) if bool(reverse) else total


def argsort(x: Tensor, axis: Any = -1, ascending: Any = False) -> Tensor:
    """Positions in order of value, those of equal values as they stand."""
    return x.argsort(dim=int(axis), descending=not bool(ascending), stable=True)


def topk(
    x: Tensor, k: Any = 1, axis: Any = -1, ascending: Any = False, sort: Any = True, return_indices: Any = True,
    output_indices_dtype: str = "int32",
) -> Tensor | tuple[Tensor, Tensor]:  # fmt: skip
    """The k largest (smallest, if ascending) values along an axis, and where they are."""
    positions = argsort(x, axis, ascending).narrow(int(axis), 0, int(k))
    values = x.gather(int(axis), positions)
    return (values, positions) if bool(return_indices) else values


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "reduce_mean": reduction(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "reduce_sum": reduction(lambda x, axes, keep: x.sum(axes, keepdim=keep)),
    "reduce_max": reduction(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "reduce_min": reduction(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "reduce_prod": reduction(product),
    "reduce_l1_norm": reduction(lambda x, axes, keep: x.abs().sum(axes, keepdim=keep)),
    "reduce_l2_norm": reduction(lambda x, axes, keep: (x * x).sum(axes, keepdim=keep).sqrt()),
    "reduce_sum_square": reduction(lambda x, axes, keep: (x * x).sum(axes, keepdim=keep)),
    "reduce_log_sum": reduction(lambda x, axes, keep: x.sum(axes, keepdim=keep).log()),
    "reduce_log_sum_exp": reduction(lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep)),
    "reduce_argmax": lambda x, axis=-1, keep_dims=False, output_dtype="int32": extreme(x, True, axis, keep_dims),
    "reduce_argmin": lambda x, axis=-1, keep_dims=False, output_dtype="int32": extreme(x, False, axis, keep_dims),
    "cumsum": cumsum,
    "argsort": argsort,
    "topk": topk,
}
