"""Optimisers and the rule that says which parameters decay."""

from collections.abc import Iterable

import torch
from torch import nn


def decay_groups(modules: Iterable[nn.Module], weight_decay: float) -> list[dict[str, object]]:
    """RoB's AdamW rule: a name that ends in `bias` or contains `norm` is undecayed, everything else decays.

    So position and CLS tokens, the weight-norm gain, and batch norms named `bn1` do decay, as in the original.

    Returns:
        Two parameter groups, the decayed one first.
    """
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for module in modules:
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                (undecayed if name.endswith("bias") or "norm" in name else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": undecayed, "weight_decay": 0.0}]


def adamw(
    modules: Iterable[nn.Module], *, lr: float, weight_decay: float, betas: tuple[float, float]
) -> torch.optim.AdamW:
    """Fused AdamW over the groups of `decay_groups`."""
    return torch.optim.AdamW(decay_groups(modules, weight_decay), lr=lr, betas=betas, fused=True)


def set_step(optimizer: torch.optim.Optimizer, lr: float, weight_decay: float) -> None:
    """Set this step's learning rate, and the weight decay of the groups that decay."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.param_groups[0]["weight_decay"] = weight_decay
