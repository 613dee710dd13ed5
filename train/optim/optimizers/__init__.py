"""The optimisers that `optimizer` may name, and how each is made of a configuration.

Another package declares one by an entry point of the group `lowzoo.optimizers` that gives an `OptimizerKind`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lowzoo.base.lazy import resolved_place
from lowzoo.base.registry import Registry
from lowzoo.train.optim.optimizers.layerwise import LARC, LARS

if TYPE_CHECKING:
    from lowzoo.train.recipes.base import TrainConfig

Group = dict[str, object]
Make = Callable[[list[Group], "TrainConfig"], torch.optim.Optimizer]


@dataclass(frozen=True)
class OptimizerKind:
    """An optimiser that can be chosen.

    Args:
        name: What `optimizer` takes.
        make: (groups, configuration) -> optimiser, or "module:function" of it. A group holds `params`, their
            `weight_decay`, and whether they are `scaled` layer by layer; rate and decay are set before every step.
        states: Numbers that it keeps for each parameter; counted when memory is estimated.
    """

    name: str
    make: Make | str
    states: int

    def build(self, groups: list[Group], config: "TrainConfig") -> torch.optim.Optimizer:
        """The optimiser of a run over groups of parameters."""
        made: torch.optim.Optimizer = resolved_place(self.make)(groups, config)
        return made


def _adamw(groups: list[Group], config: "TrainConfig") -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=config.peak_lr, betas=config.betas, fused=config.fused)


def _sgd(groups: list[Group], config: "TrainConfig") -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=config.peak_lr, momentum=config.momentum)


def _larc(groups: list[Group], config: "TrainConfig") -> torch.optim.Optimizer:
    return LARC(groups, lr=config.peak_lr, momentum=config.momentum)


def _lars(groups: list[Group], config: "TrainConfig") -> torch.optim.Optimizer:
    return LARS(groups, lr=config.peak_lr, momentum=config.momentum)


_OWN = {
    "adamw": OptimizerKind("adamw", _adamw, states=2),
    "sgd": OptimizerKind("sgd", _sgd, states=1),
    "larc": OptimizerKind("larc", _larc, states=1),
    "lars": OptimizerKind("lars", _lars, states=1),
}
OPTIMIZERS: Registry[OptimizerKind] = Registry(OptimizerKind, "optimiser", "lowzoo.optimizers", _OWN)
