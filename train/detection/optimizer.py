"""The optimiser of a detector: which of its numbers decay."""

import torch
from torch import nn

from lowzoo.train.detection.config import DetectConfig

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def optimizer_of(config: DetectConfig, detector: nn.Module) -> torch.optim.Optimizer:
    """Weights have decay, norms their own, biases as the settings say; tables of positions and tokens have none."""
    groups: dict[float, list[nn.Parameter]] = {}
    seen = set[int]()
    for module in detector.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            if isinstance(module, _NORMS):
                decay = config.norm_decay
            elif name == "bias":
                decay = config.weight_decay if config.bias_decay else 0.0
            else:
                decay = config.weight_decay if name.endswith("weight") else 0.0
            groups.setdefault(decay, []).append(parameter)
    found = [{"params": parameters, "weight_decay": decay} for decay, parameters in groups.items()]
    if config.optimizer == "sgd":
        return torch.optim.SGD(found, lr=config.learning_rate, momentum=config.momentum)
    return torch.optim.AdamW(found, lr=config.learning_rate)
