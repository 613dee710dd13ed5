"""Layers of MIL: convolution, pooling, normalisation, products. Shapes: (N, C, *picture) unless said otherwise."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def ints(value: Any) -> list[int]:
    """A tensor of whole numbers as a list."""
    return [int(number) for number in value.reshape(-1)] if isinstance(value, Tensor) else [int(n) for n in value]


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Any = None,
    pad_type: str = "valid",
    pad: Any = None,
    dilations: Any = None,
    groups: Any = 1,
) -> Tensor:
    """Convolution of one to three dimensions; weight (C_out, C_in / groups, *kernel)."""
    steps, gaps = _each(strides, x, 1), _each(dilations, x, 1)
    window = [(size - 1) * gap + 1 for size, gap in zip(weight.shape[2:], gaps, strict=True)]
    x = _padded(x, _sides(x, window, steps, pad_type, pad), 0.0)
    return _CONVOLUTIONS[x.ndim - 2](x, weight, bias, steps, 0, gaps, int(groups))


def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: Any = None,
    output_shape: Any = None,
    pad_type: str = "valid",
    strides: Any = None,
    dilations: Any = None,
    groups: Any = 1,
) -> Tensor:
    """Transposed convolution; weight (C_in, C_out / groups, *kernel).

    The whole result is computed, and what padding (or `output_shape`) leaves of it is cut out.
    """
    steps, gaps = _each(strides, x, 1), _each(dilations, x, 1)
    full = _TRANSPOSED[x.ndim - 2](x, weight, None, steps, 0, 0, int(groups), gaps)
    pairs = _pairs(pad, x) if pad_type == "custom" else [(0, 0)] * (x.ndim - 2)
    if pad_type == "same":
        extra = [size - side * step for size, side, step in zip(full.shape[2:], x.shape[2:], steps, strict=True)]
        pairs = [(each // 2, each - each // 2) for each in extra]
    wanted = ints(output_shape)[2:] if output_shape is not None else None
    for axis, (before, after) in enumerate(pairs, 2):
        side = wanted[axis - 2] if wanted else full.shape[axis] - before - after
        missing = before + side - full.shape[axis]
        if missing > 0:  # outputs that no input reaches
            full = functional.pad(full, [0, 0] * (full.ndim - axis - 1) + [0, missing])
        full = full.narrow(axis, before, side)
    return full if bias is None else full + bias.reshape([-1] + [1] * (x.ndim - 2))


def max_pool(
    x: Tensor, kernel_sizes: Any, strides: Any = None, pad_type: str = "valid", pad: Any = None, ceil_mode: Any = False
) -> Tensor:
    """Largest value of each window."""
    return _pool(x, kernel_sizes, strides, pad_type, pad, ceil_mode, torch.amax, -torch.inf)


def avg_pool(
    x: Tensor, kernel_sizes: Any, strides: Any = None, pad_type: str = "valid", pad: Any = None,
    exclude_padding_from_average: Any = False, ceil_mode: Any = False,
) -> Tensor:  # fmt: skip
    """Mean of each window; what a window has beyond the padding, by `ceil_mode`, never counts."""
    total = _pool(x, kernel_sizes, strides, pad_type, pad, ceil_mode, torch.sum, 0.0)
    ones = torch.ones_like(x)
    if not bool(exclude_padding_from_average):
        # The padding counts: make it a part of the picture.
        sizes, steps = ints(kernel_sizes), _each(strides, x, 1)
        ones = _padded(ones, _sides(x, sizes, steps, pad_type, pad), 1.0)
        inside = _windows(ones, sizes, steps, [(0, 0)] * len(sizes), 0.0, list(total.shape[2:]))
        return total / inside.sum(list(range(-len(sizes), 0)))
    return total / _pool(ones, kernel_sizes, strides, pad_type, pad, ceil_mode, torch.sum, 0.0)


def l2_pool(
    x: Tensor, kernel_sizes: Any, strides: Any = None, pad_type: str = "valid", pad: Any = None, ceil_mode: Any = False
) -> Tensor:
    """Root of the sum of squares of each window."""
    return _pool(x * x, kernel_sizes, strides, pad_type, pad, ceil_mode, torch.sum, 0.0).sqrt()


def instance_norm(x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: Any = 1e-5) -> Tensor:
    """Normalise each channel of each picture."""
    return functional.instance_norm(x, weight=gamma, bias=beta, eps=float(epsilon))


def l2_norm(x: Tensor, epsilon: Any = 1e-6) -> Tensor:
    """Divide by the root of the sum of squares over the last three dimensions."""
    return x / ((x * x).sum((-3, -2, -1), keepdim=True) + float(epsilon)).sqrt()


def local_response_norm(x: Tensor, size: Any, alpha: Any = 1e-4, beta: Any = 0.75, k: Any = 1.0) -> Tensor:
    """Divide by a power of the mean square of the neighbouring channels."""
    return functional.local_response_norm(x, int(size), float(alpha), float(beta), float(k))


def batch_norm(
    x: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None,
    epsilon: Any = 1e-5,
) -> Tensor:  # fmt: skip
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, each (C,)."""
    return functional.batch_norm(x, mean, variance, gamma, beta, eps=float(epsilon))


def layer_norm(
    x: Tensor, axes: Any = None, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: Any = 1e-5
) -> Tensor:
    """Normalise over `axes`, or over all; gamma and beta have their sides."""
    chosen = sorted(axis % x.ndim for axis in (ints(axes) if axes is not None else range(x.ndim)))
    others = [axis for axis in range(x.ndim) if axis not in chosen]
    # With the chosen axes at the end, as torch wants them.
    order = others + chosen
    moved = x.permute(order)
    normal = functional.layer_norm(moved, moved.shape[len(others) :], gamma, beta, eps=float(epsilon))
    return normal.permute([order.index(axis) for axis in range(x.ndim)])


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


def einsum(values: list[Tensor], equation: str) -> Tensor:
    """Sum of products by Einstein's notation."""
    return torch.einsum(equation, *values)


def _each(value: Any, x: Tensor, otherwise: int) -> list[int]:
    """One number for each dimension of the picture."""
    return ints(value) if value is not None else [otherwise] * (x.ndim - 2)


def _pairs(pad: Any, x: Tensor) -> list[tuple[int, int]]:
    counts = _each(pad, x, 0)
    return list(zip(counts[::2], counts[1::2], strict=True)) if pad is not None else [(0, 0)] * (x.ndim - 2)


def _sides(x: Tensor, window: list[int], strides: list[int], pad_type: str, pad: Any) -> list[tuple[int, int]]:
    """How many entries come before and after the picture in each of its dimensions."""
    if pad_type == "custom":
        return _pairs(pad, x)
    if pad_type == "valid":
        return [(0, 0)] * len(window)
    if pad_type not in ("same", "same_lower"):
        raise ValueError(f"padding {pad_type!r}")
    sides = []
    for size, width, step in zip(x.shape[2:], window, strides, strict=True):
        total = max((-(-size // step) - 1) * step + width - size, 0)
        less, more = total // 2, total - total // 2
        sides.append((less, more) if pad_type == "same" else (more, less))
    return sides


def _padded(x: Tensor, sides: list[tuple[int, int]], value: float) -> Tensor:
    # torch names the last dimension's sides first.
    return functional.pad(x, [count for pair in reversed(sides) for count in pair], value=value)


def _pool(
    x: Tensor, kernel_sizes: Any, strides: Any, pad_type: str, pad: Any, ceil_mode: Any,
    fold: Callable[..., Tensor], filling: float,
) -> Tensor:  # fmt: skip
    sizes, steps = ints(kernel_sizes), _each(strides, x, 1)
    sides = _sides(x, sizes, steps, pad_type, pad)
    counts = []
    for side, width, step, (before, after) in zip(x.shape[2:], sizes, steps, sides, strict=True):
        room = side + before + after - width
        count = -(-room // step) + 1 if bool(ceil_mode) else room // step + 1
        # As torch has it, no window starts in the padding at the end.
        counts.append(count - 1 if bool(ceil_mode) and (count - 1) * step >= side + before else count)
    return fold(_windows(x, sizes, steps, sides, filling, counts), list(range(-len(sizes), 0)))


def _windows(
    x: Tensor, sizes: list[int], steps: list[int], sides: list[tuple[int, int]], filling: float, counts: list[int]
) -> Tensor:
    """All windows: (B, C, *counts, *sizes), filled up where they reach beyond the padding."""
    total = [
        (before, max(after, (count - 1) * step + width - side - before))
        for side, width, step, count, (before, after) in zip(x.shape[2:], sizes, steps, counts, sides, strict=True)
    ]
    x = _padded(x, total, filling)
    for axis, (width, step, count) in enumerate(zip(sizes, steps, counts, strict=True), 2):
        x = x.unfold(axis, width, step).narrow(axis, 0, count)
    return x


_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}

LAYERS: dict[str, Callable[..., Any]] = {
    "conv": conv,
    "conv_transpose": conv_transpose,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "l2_pool": l2_pool,
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
    "l2_norm": l2_norm,
    "local_response_norm": local_response_norm,
    "layer_norm": layer_norm,
    "linear": linear,
    "matmul": matmul,
    "einsum": einsum,
    "scaled_dot_product_attention": attention,
    "classify": classify,
}
