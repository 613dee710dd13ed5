"""Layers that heads share."""

from torch import nn


def linear(in_dim: int, out_dim: int) -> nn.Linear:
    """A linear layer as DINO starts it: truncated normal of spread 0.02, no offset."""
    layer = nn.Linear(in_dim, out_dim)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer
