"""SGD whose rate is scaled layer by layer with the ratio of weight and gradient norms (You et al., arXiv 1708.03888).

    LARS (as SSLight has it)   d = trust * (g + wd p),  trust = eta |p| / |g + wd p|
    LARC (as VISSL and apex)   d = trust * (g + wd p),  trust = eta |p| / (|g| + wd |p| + eps)
    both                       m <- momentum m + d;  p <- p - lr m

Where a norm is zero LARS takes trust = 1, and LARC takes the gradient as it is, without decay. A group with
`scaled = False` takes trust = 1. A parameter without gradient is left out, its momentum too.
"""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class _Layerwise(torch.optim.Optimizer):
    """What LARS and LARC share.

    Args:
        params: Groups; `scaled` says whether a group is scaled layer by layer.
        lr: Learning rate.
        momentum: Momentum of the running sum of directions.
        weight_decay: Joins the gradient before it is scaled.
        eta: Trust coefficient.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 1e-3,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eta": eta, "scaled": True}
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            grads = [p.grad for p in parameters]
            directions = list(torch._foreach_add(grads, parameters, alpha=group["weight_decay"]))
            if group["scaled"]:
                torch._foreach_mul_(directions, list(self._trust(parameters, grads, directions, group).unbind()))
            momenta = [self._momentum(p) for p in parameters]
            torch._foreach_mul_(momenta, group["momentum"])
            torch._foreach_add_(momenta, directions)
            torch._foreach_add_(parameters, momenta, alpha=-group["lr"])

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        momentum: Tensor = state["momentum"]
        return momentum

    @abstractmethod
    def _trust(
        self, parameters: list[Tensor], grads: list[Tensor], decayed: list[Tensor], group: dict[str, Any]
    ) -> Tensor:
        """One factor a parameter."""


class LARS(_Layerwise):
    """SSLight's LARS."""

    def _trust(
        self, parameters: list[Tensor], grads: list[Tensor], decayed: list[Tensor], group: dict[str, Any]
    ) -> Tensor:
        size, length = _norms(parameters), _norms(decayed)
        return torch.where((size > 0) & (length > 0), group["eta"] * size / length, 1.0)


class LARC(_Layerwise):
    """SGD with VISSL's LARC.

    Args:
        params: Groups; `scaled` says whether a group is scaled layer by layer.
        lr: Learning rate.
        momentum: Momentum of the running sum of directions.
        weight_decay: Joins the gradient before it is scaled.
        eta: Trust coefficient.
        eps: Keeps the division finite.
        clip: Take min(trust / lr, 1) instead, so that no layer moves faster than plain SGD (never so in RoB-SwAV).
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 1e-3,
        eps: float = 1e-8,
        clip: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, eta=eta)
        self._eps = eps
        self._clip = clip

    def _trust(
        self, parameters: list[Tensor], grads: list[Tensor], decayed: list[Tensor], group: dict[str, Any]
    ) -> Tensor:
        size, length = _norms(parameters), _norms(grads)
        trust = group["eta"] * size / (length + group["weight_decay"] * size + self._eps)
        if self._clip:
            trust = (trust / group["lr"]).clamp_max(1)
        # The gradient as it is: without parameters decay adds nothing to it, and without gradient it is nothing.
        return torch.where(size > 0, torch.where(length > 0, trust, 0.0), 1.0)


def _norms(tensors: list[Tensor]) -> Tensor:
    return torch.stack(torch._foreach_norm(tensors))
