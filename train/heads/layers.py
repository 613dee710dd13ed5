"""Layers that heads share."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def linear(in_dim: int, out_dim: int) -> nn.Linear:
    """A linear layer as DINO starts it: truncated normal of spread 0.02, no offset."""
    layer = nn.Linear(in_dim, out_dim)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer


def drop_repeated(second: str, first: str) -> Callable[..., None]:
    """A hook before loading a state dict, for originals that save a shared layer under two names.

    Args:
        second: Prefix of the keys that are dropped where they repeat the values of `first`; others stay, and a strict
            load refuses them.
        first: Prefix of the layer that there is.
    """

    def hook(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
        for key in [key for key in state if key.startswith(prefix + second)]:
            twin = state.get(prefix + first + key.removeprefix(prefix + second))
            if twin is not None and torch.equal(twin, state[key]):
                del state[key]

    return hook
