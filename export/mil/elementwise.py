"""Element-wise operators of MIL: tensors of float32 in, a tensor out, broadcast as numpy does."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    """GELU by the error function, by tanh, or by a sigmoid."""
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return functional.gelu(x, approximate="tanh" if mode == "TANH_APPROXIMATION" else "none")


def cast(x: Tensor, dtype: str) -> Tensor:
    """Cut a fraction off where the type is whole; the rounding of others is the output's declared type."""
    if dtype == "bool":
        return x != 0
    return x.trunc() if dtype.startswith(("int", "uint")) and x.is_floating_point() else x


def by_channel(values: Tensor, x: Tensor) -> Tensor:
    """Values (C,) in a shape that meets the second dimension of x; one value as it is."""
    return values.reshape([-1] + [1] * (x.ndim - 2)) if values.ndim == 1 and values.numel() > 1 else values


def real_div(x: Tensor, y: Tensor) -> Tensor:
    """Quotient; of whole numbers the part before the point, as the result is declared whole."""
    return x / y if x.is_floating_point() or y.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


_ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "relu": lambda x: x.relu(),
    "relu6": lambda x: x.clamp(0, 6),
    "clip": lambda x, alpha, beta: x.clamp(float(alpha), float(beta)),
    "clamped_relu": lambda x, alpha, beta: torch.minimum(torch.where(x >= 0, x, alpha * x), _as(x, beta)),
    "elu": lambda x, alpha=1.0: torch.where(x > 0, x, alpha * x.expm1()),
    "leaky_relu": lambda x, alpha=0.01: torch.where(x >= 0, x, alpha * x),
    "prelu": lambda x, alpha: torch.where(x > 0, x, by_channel(alpha, x) * x),
    "linear_activation": lambda x, alpha, beta=0.0: alpha * x + beta,
    "scaled_tanh": lambda x, alpha=1.0, beta=1.0: alpha * (beta * x).tanh(),
    "sigmoid": lambda x: x.sigmoid(),
    "sigmoid_hard": lambda x, alpha=0.2, beta=0.5: (alpha * x + beta).clamp(0, 1),
    "silu": lambda x: x * x.sigmoid(),
    "softplus": lambda x: functional.softplus(x, threshold=40),
    "softplus_parametric": lambda x, alpha, beta: (
        by_channel(alpha, x) * functional.softplus(by_channel(beta, x) * x, threshold=40)
    ),
    "softsign": lambda x: x / (1 + x.abs()),
    "threshold": lambda x, alpha: torch.maximum(x, _as(x, alpha)),
    "thresholded_relu": lambda x, alpha=1.0: torch.where(x >= alpha, x, torch.zeros(())),
    "softmax": lambda x, axis=-1: x.softmax(int(axis)),
    "gelu": gelu,
}


def _as(x: Tensor, value: Any) -> Tensor:
    return torch.as_tensor(value, dtype=x.dtype)


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    **_ACTIVATIONS,
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "real_div": real_div,
    "floor_div": lambda x, y: torch.floor_divide(x, y),
    "mod": lambda x, y: torch.remainder(x, y),
    "maximum": lambda x, y: torch.maximum(x, y),
    "minimum": lambda x, y: torch.minimum(x, y),
    "pow": lambda x, y: x**y,
    "equal": lambda x, y: x == y,
    "not_equal": lambda x, y: x != y,
    "less": lambda x, y: x < y,
    "less_equal": lambda x, y: x <= y,
    "greater": lambda x, y: x > y,
    "greater_equal": lambda x, y: x >= y,
    "logical_and": lambda x, y: torch.logical_and(x, y),
    "logical_or": lambda x, y: torch.logical_or(x, y),
    "logical_xor": lambda x, y: torch.logical_xor(x, y),
    "logical_not": lambda x: torch.logical_not(x),
    "select": lambda cond, a, b: torch.where(cond.bool(), a, b),
    "abs": lambda x: x.abs(),
    "acos": lambda x: x.acos(),
    "acosh": lambda x: x.acosh(),
    "asin": lambda x: x.asin(),
    "asinh": lambda x: x.asinh(),
    "atan": lambda x: x.atan(),
    "atanh": lambda x: x.atanh(),
    "ceil": lambda x: x.ceil(),
    "cos": lambda x: x.cos(),
    "cosh": lambda x: x.cosh(),
    "erf": lambda x: x.erf(),
    "exp": lambda x: x.exp(),
    "exp2": lambda x: x.exp2(),
    "floor": lambda x: x.floor(),
    "inverse": lambda x, epsilon=1e-4: 1 / (x + epsilon),
    "log": lambda x, epsilon=1e-45: (x + epsilon).log(),
    "round": lambda x: x.round(),
    "rsqrt": lambda x, epsilon=1e-12: (x + epsilon).rsqrt(),
    "sign": lambda x: x.sign(),
    "sin": lambda x: x.sin(),
    "sinh": lambda x: x.sinh(),
    "sqrt": lambda x: x.sqrt(),
    "square": lambda x: x * x,
    "tan": lambda x: x.tan(),
    "tanh": lambda x: x.tanh(),
    "cast": cast,
    "identity": lambda x: x,
}
