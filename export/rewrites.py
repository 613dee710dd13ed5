"""Rewrites of a network for its way to a phone: the same function from operators that are to be had there.

torch decomposes an adaptive pool to one pixel into a mean and a strided view, which becomes a Gather that splits the
graph on CoreML; a plain mean does not, and is written for every target.

NNAPI has neither HardSwish nor HardSigmoid; each of them ends a partition, and MobileNetV3-Large falls into 30.
hard_sigmoid(x) = clamp(x + 3, 0, 6) / 6 and hard_swish(x) = x hard_sigmoid(x) make it one. A desktop's processor is a
third slower with it, so it is done for that target only.
"""

from collections.abc import Callable

import onnx
from onnx import helper, numpy_helper
from timm.layers import activations
from timm.layers.attention import Attention
from torch import Tensor, nn
from torch.nn import functional

from lowzoo.export.plain_layers import PlainAttention, PlainGelu, PlainLayerNorm

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
# Those that normalise the last dimension; LayerNorm2d, of the same class, normalises channels.
_LAST = ("LayerNorm", "LayerNormFp32")


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


def clamps_for_hard_sigmoids(network: nn.Module) -> nn.Module:
    """Exchange, in place, every hard-sigmoid of a network by a clamp, and give it back."""
    return _exchanged(network, lambda child: ClampHardSigmoid() if isinstance(child, _SIGMOIDS) else None)


def plain_transformer_layers(network: nn.Module) -> nn.Module:
    """Exchange, in place, layer norms, exact GELUs and attention by what NNAPI can run, and give the network back."""

    def plain(child: nn.Module) -> nn.Module | None:
        if isinstance(child, nn.LayerNorm) and len(child.normalized_shape) == 1 and type(child).__name__ in _LAST:
            return PlainLayerNorm(child)
        if type(child) is Attention and not _has_extras(child):
            return PlainAttention(child)
        is_gelu = isinstance(child, (nn.GELU, activations.GELU)) and getattr(child, "approximate", "none") == "none"
        return PlainGelu() if is_gelu else None

    return _exchanged(network, plain)


def _has_extras(attention: Attention) -> bool:
    """Gates and a norm before the projection, which some of timm's releases know, stay timm's own."""
    norm = getattr(attention, "norm", None)
    return getattr(attention, "gate", None) is not None or not (norm is None or isinstance(norm, nn.Identity))


def global_pools(model: onnx.ModelProto) -> None:
    """Exchange, in place, every mean over height and width of an ONNX graph by a global average pool.

    The CoreML provider of onnxruntime takes no ReduceMean into a NeuralNetwork, and a mean is in every SE block.
    """
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        axes = weights.get(node.input[1]) if node.op_type == "ReduceMean" and len(node.input) > 1 else None
        if axes is None or sorted(axis % 4 for axis in axes.tolist()) != [2, 3]:
            model.graph.node.append(node)
            continue
        keeps = all(attribute.i for attribute in node.attribute if attribute.name == "keepdims")
        pooled = node.output[0] if keeps else f"{node.output[0]}_pooled"
        model.graph.node.append(helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], name=node.name))
        if not keeps:
            model.graph.node.append(helper.make_node("Flatten", [pooled], [node.output[0]], name=f"{node.name}_flat"))


def _exchanged(network: nn.Module, substitute: Callable[[nn.Module], nn.Module | None]) -> nn.Module:
    for name, child in network.named_children():
        other = substitute(child)
        if other is None:
            _exchanged(child, substitute)
        else:
            setattr(network, name, other)
    return network
