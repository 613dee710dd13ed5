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
    return x.trunc() if dtype.startswith(("int", "uint")) and x.is_floating_point() else x


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "real_div": lambda x, y: x / y,
    "maximum": lambda x, y: torch.maximum(x, y),
    "minimum": lambda x, y: torch.minimum(x, y),
    "pow": lambda x, y: x**y,
    "abs": lambda x: x.abs(),
    "sqrt": lambda x: x.sqrt(),
    "rsqrt": lambda x, epsilon=1e-12: (x + epsilon).rsqrt(),
    "exp": lambda x: x.exp(),
    "erf": lambda x: x.erf(),
    "tanh": lambda x: x.tanh(),
    "relu": lambda x: x.relu(),
    "relu6": lambda x: x.clamp(0, 6),
    "clip": lambda x, alpha, beta: x.clamp(float(alpha), float(beta)),
    "sigmoid": lambda x: x.sigmoid(),
    "sigmoid_hard": lambda x, alpha=0.2, beta=0.5: (alpha * x + beta).clamp(0, 1),
    "silu": lambda x: x * x.sigmoid(),
    "thresholded_relu": lambda x, alpha=1.0: torch.where(x >= alpha, x, torch.zeros(())),
    "softmax": lambda x, axis=-1: x.softmax(int(axis)),
    "gelu": gelu,
    "cast": cast,
    "identity": lambda x: x,
}
