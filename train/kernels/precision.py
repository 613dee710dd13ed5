"""Full precision where halves would lose it."""

import torch
from torch import Tensor


def full(x: Tensor) -> Tensor:
    """`x` in fp32; what is wider stays, so that a run in fp64 is one throughout."""
    return x if x.dtype == torch.float64 else x.float()
