"""Rewrites of a network for its way to a phone: the same function from operators that are to be had there.

torch decomposes an adaptive pool to one pixel into a mean and a strided view, which becomes a Gather that splits the
graph on CoreML; a plain mean does not, and is written for every target.

NNAPI has neither HardSwish nor HardSigmoid; each of them ends a partition, and MobileNetV3-Large falls into 30.
hard_sigmoid(x) = clamp(x + 3, 0, 6) / 6 and hard_swish(x) = x hard_sigmoid(x) make it one. A desktop's processor is a
third slower with it, so it is done for that target only.
"""

from collections.abc import Callable

from timm.layers import activations
from torch import Tensor, nn
from torch.nn import functional

_SIXTH = 1 / 6


class ClampHardSigmoid(nn.Module):
    """clamp(x + 3, 0, 6) / 6."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        # relu6 reaches ONNX as a Clip whose bounds NNAPI knows.
        return functional.relu6(x + 3) * _SIXTH


class ClampHardSwish(nn.Module):
    """x clamp(x + 3, 0, 6) / 6."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x * (functional.relu6(x + 3) * _SIXTH)


class MeanPool(nn.Module):
    """Mean over height and width, whose sides stay as 1."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 1, 1)."""
        return x.mean((2, 3), keepdim=True)


_SIGMOIDS = (nn.Hardsigmoid, activations.HardSigmoid)
_SWISHES = (nn.Hardswish, activations.HardSwish)


def plain_mean_pools(network: nn.Module) -> nn.Module:
    """Exchange, in place, every adaptive average pool to one pixel by a mean, and give the network back."""

    def mean_pool(child: nn.Module) -> nn.Module | None:
        return MeanPool() if isinstance(child, nn.AdaptiveAvgPool2d) and child.output_size in (1, (1, 1)) else None

    return _exchanged(network, mean_pool)


def clamps_for_hard_activations(network: nn.Module) -> nn.Module:
    """Exchange, in place, every hard-sigmoid and hard-swish of a network by clamps, and give it back."""

    def clamp(child: nn.Module) -> nn.Module | None:
        if isinstance(child, _SIGMOIDS):
            return ClampHardSigmoid()
        return ClampHardSwish() if isinstance(child, _SWISHES) else None

    return _exchanged(network, clamp)


def _exchanged(network: nn.Module, substitute: Callable[[nn.Module], nn.Module | None]) -> nn.Module:
    for name, child in network.named_children():
        other = substitute(child)
        if other is None:
            _exchanged(child, substitute)
        else:
            setattr(network, name, other)
    return network
