"""Which parameters decay, and the optimiser of a configuration."""

from collections.abc import Callable

import torch
from torch import nn

from lowzoo.train.optim.layerwise import LARC, LARS
from lowzoo.train.recipes.base import TrainConfig

Group = dict[str, object]


def parameter_groups(module: nn.Module, rule: str, weight_decay: float) -> list[Group]:
    """Parameters that need a gradient, in groups of equal treatment.

    Args:
        module: The student with its head.
        rule: "names": a name that ends in `bias` or contains `norm` is undecayed (so position and class tokens, the
            weight-norm gain, and batch norms named `bn1` do decay: RoB's AdamW recipes). "one_d": tensors of one
            dimension are undecayed and not scaled layer by layer. "depthwise": these, and depthwise kernels are
            undecayed, too, but scaled (SSLight). "all": everything decays and is scaled (SEED, RoB-SwAV).
        weight_decay: Weight decay of the groups that decay.

    Returns:
        Groups with `params`, `weight_decay`, `decays` and `scaled`; the first decays.
    """
    treat = _RULES[rule]
    found: dict[tuple[bool, bool], list[nn.Parameter]] = {(True, True): []}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            found.setdefault(treat(name, parameter), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if decays else 0.0, "decays": decays, "scaled": scaled}
        for (decays, scaled), parameters in found.items()
    ]


def make_optimizer(config: TrainConfig, module: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a run over the groups of its rule."""
    groups = parameter_groups(module, config.decay_rule, config.weight_decay)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.peak_lr, betas=config.betas, fused=config.fused)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.peak_lr, momentum=config.momentum)
    kind = LARS if config.optimizer == "lars" else LARC
    return kind(groups, lr=config.peak_lr, momentum=config.momentum)


def set_step(optimizer: torch.optim.Optimizer, lr: float, weight_decay: float) -> None:
    """Set this step's learning rate, and the weight decay of the groups that decay."""
    for group in optimizer.param_groups:
        group["lr"] = lr
        if group["decays"]:
            group["weight_decay"] = weight_decay


def _by_name(name: str, _: nn.Parameter) -> tuple[bool, bool]:
    return not (name.endswith("bias") or "norm" in name), True


def _one_d(_: str, parameter: nn.Parameter) -> tuple[bool, bool]:
    return parameter.ndim > 1, parameter.ndim > 1


def _depthwise(_: str, parameter: nn.Parameter) -> tuple[bool, bool]:
    kernel = parameter.ndim == 4 and parameter.shape[1] == 1
    return parameter.ndim > 1 and not kernel, parameter.ndim > 1


def _everything(_: str, __: nn.Parameter) -> tuple[bool, bool]:
    return True, True


_RULES: dict[str, Callable[[str, nn.Parameter], tuple[bool, bool]]] = {
    "names": _by_name,
    "one_d": _one_d,
    "depthwise": _depthwise,
    "all": _everything,
}
