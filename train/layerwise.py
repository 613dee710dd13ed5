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
        momentum: Of the running sum of directions.
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
            directions = self._directions(parameters, [p.grad for p in parameters], group)
            momenta = [
                self.state[p].setdefault("momentum", torch.zeros_like(p, memory_format=torch.preserve_format))
                for p in parameters
            ]
            torch._foreach_mul_(momenta, group["momentum"])
            torch._foreach_add_(momenta, directions)
            torch._foreach_add_(parameters, momenta, alpha=-group["lr"])

    def _directions(self, parameters: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        decayed = list(torch._foreach_add(grads, parameters, alpha=group["weight_decay"]))
        return self._scale(parameters, grads, decayed, group) if group["scaled"] else decayed

    @abstractmethod
    def _scale(
        self, parameters: list[Tensor], grads: list[Tensor], decayed: list[Tensor], group: dict[str, Any]
    ) -> list[Tensor]:
        """Directions from gradients and decayed gradients."""


class LARS(_Layerwise):
    """SSLight's LARS."""

    def _scale(
        self, parameters: list[Tensor], grads: list[Tensor], decayed: list[Tensor], group: dict[str, Any]
    ) -> list[Tensor]:
        sizes, lengths = torch._foreach_norm(parameters), torch._foreach_norm(decayed)
        for size, length, direction in zip(sizes, lengths, decayed, strict=True):
            both = (size > 0) & (length > 0)
            direction.mul_(torch.where(both, group["eta"] * size / length.clamp_min(1e-38), 1.0))
        return decayed


class LARC(_Layerwise):
    """VISSL's LARC without clipping."""

    eps = 1e-8

    def _scale(
        self, parameters: list[Tensor], grads: list[Tensor], decayed: list[Tensor], group: dict[str, Any]
    ) -> list[Tensor]:
        sizes, lengths = torch._foreach_norm(parameters), torch._foreach_norm(grads)
        out = []
        for size, length, grad, direction in zip(sizes, lengths, grads, decayed, strict=True):
            trust = group["eta"] * size / (length + group["weight_decay"] * size + self.eps)
            out.append(torch.where((size > 0) & (length > 0), direction * trust, grad))
        return out
