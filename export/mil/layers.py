"""Layers of MIL: convolution, pooling, normalisation, products. Shapes: (N, C, H, W) unless said otherwise."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_ONE = torch.ones((), dtype=torch.int64)


def ints(value: Any) -> list[int]:
    """A tensor of whole numbers as a list."""
    return [int(number) for number in value.reshape(-1)] if isinstance(value, Tensor) else [int(n) for n in value]


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Any = (1, 1),
    pad_type: str = "valid",
    pad: Any = (0, 0, 0, 0),
    dilations: Any = (1, 1),
    groups: Any = _ONE,
) -> Tensor:
    """Convolution of two dimensions; weight (C_out, C_in / groups, KH, KW)."""
    kernel = [(size - 1) * step + 1 for size, step in zip(weight.shape[2:], ints(dilations), strict=True)]
    x = _padded(x, kernel, ints(strides), pad_type, ints(pad), 0.0)
    return functional.conv2d(x, weight, bias, ints(strides), 0, ints(dilations), int(groups))


def max_pool(
    x: Tensor, kernel_sizes: Any, strides: Any = (1, 1), pad_type: str = "valid", pad: Any = (0, 0, 0, 0),
    ceil_mode: Any = False,
) -> Tensor:  # fmt: skip
    """Largest value of each window."""
    x = _padded(x, ints(kernel_sizes), ints(strides), pad_type, ints(pad), -torch.inf)
    return functional.max_pool2d(x, ints(kernel_sizes), ints(strides), ceil_mode=bool(ceil_mode))


def avg_pool(
    x: Tensor, kernel_sizes: Any, strides: Any = (1, 1), pad_type: str = "valid", pad: Any = (0, 0, 0, 0),
    exclude_padding_from_average: Any = False, ceil_mode: Any = False,
) -> Tensor:  # fmt: skip
    """Mean of each window."""
    sizes, steps, sides = ints(kernel_sizes), ints(strides), ints(pad)
    pool = functional.avg_pool2d(
        _padded(x, sizes, steps, pad_type, sides, 0.0), sizes, steps, ceil_mode=bool(ceil_mode)
    )
    if not bool(exclude_padding_from_average):
        return pool
    inside = _padded(torch.ones_like(x), sizes, steps, pad_type, sides, 0.0)
    return pool / functional.avg_pool2d(inside, sizes, steps, ceil_mode=bool(ceil_mode))


def batch_norm(
    x: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None,
    epsilon: Any = 1e-5,
) -> Tensor:  # fmt: skip
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, each (C,)."""
    return functional.batch_norm(x, mean, variance, gamma, beta, eps=float(epsilon))


def layer_norm(
    x: Tensor, axes: Any = (-1,), gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: Any = 1e-5
) -> Tensor:
    """Normalise over `axes`, which must be the last ones."""
    chosen = sorted(axis % x.ndim for axis in ints(axes))
    if chosen != list(range(x.ndim - len(chosen), x.ndim)):
        raise ValueError(f"axes {chosen} are not the last of {x.ndim}")
    return functional.layer_norm(x, x.shape[chosen[0] :], gamma, beta, eps=float(epsilon))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., C_in) by weight (C_out, C_in)."""
    return functional.linear(x, weight, bias)


def matmul(x: Tensor, y: Tensor, transpose_x: Any = False, transpose_y: Any = False) -> Tensor:
    """Product of the last two dimensions, either of them transposed first."""
    return (x.mT if bool(transpose_x) else x) @ (y.mT if bool(transpose_y) else y)


def attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """softmax(query key^T / sqrt(D)) value."""
    return functional.scaled_dot_product_attention(query, key, value, attn_mask)


def classify(probabilities: Tensor, classes: list[str]) -> tuple[str, Tensor]:
    """The likeliest class, and the probabilities as they were."""
    return classes[int(probabilities.reshape(-1).argmax())], probabilities


def _padded(x: Tensor, kernel: list[int], strides: list[int], pad_type: str, pad: list[int], value: float) -> Tensor:
    if pad_type == "custom":
        top, bottom, left, right = pad
        return functional.pad(x, (left, right, top, bottom), value=value)
    if pad_type == "valid":
        return x
    if pad_type not in ("same", "same_lower"):
        raise ValueError(f"padding {pad_type!r}")
    sides: list[int] = []
    for size, window, step in zip(x.shape[2:], kernel, strides, strict=True):
        total = max((-(-size // step) - 1) * step + window - size, 0)
        less, more = total // 2, total - total // 2
        # torch names the last dimension's sides first.
        sides = ([less, more] if pad_type == "same" else [more, less]) + sides
    return functional.pad(x, sides, value=value)


LAYERS: dict[str, Callable[..., Any]] = {
    "conv": conv,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "linear": linear,
    "matmul": matmul,
    "scaled_dot_product_attention": attention,
    "classify": classify,
}
