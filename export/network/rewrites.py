"""Rewrites of a network for its way to a phone: the same function from operators that are to be had there.

torch decomposes an adaptive pool to one pixel into a mean and a strided view, which becomes a Gather that splits the
graph on CoreML; a plain mean does not, and is written for every target.

NNAPI has neither HardSwish nor HardSigmoid; each of them ends a partition, and MobileNetV3-Large falls into 30.
hard_sigmoid(x) = clamp(x + 3, 0, 6) / 6 and hard_swish(x) = x hard_sigmoid(x) make it one. A desktop's CPU is a
third slower with it, so it is done for that target only.

A transformer's layers from operators that NNAPI has, at the size of tensor that it takes.

It has no LayerNormalization, Gelu or Erf, and no tensor of five dimensions; each ends a partition, and a ViT-Tiny
falls into 38. A CPU runs the layers as they were faster, so they are exchanged for that target only.
"""

import math
from collections.abc import Callable

import onnx
import torch
from onnx import helper, numpy_helper
from timm.layers import activations
from timm.layers.attention import Attention
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


def float32_layer_norms(network: nn.Module) -> nn.Module:
    """Replace, in place, every layer norm of a network in float16 by one in float32, and give the network back.

    Those of torch's own transformer layers stay: these read the weights of their norms themselves.
    """

    def wide(child: nn.Module) -> nn.Module | None:
        if isinstance(child, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
            return child
        return Float32LayerNorm(child) if isinstance(child, nn.LayerNorm) else None

    return _exchanged(network, wide)


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


def attention_of_four_dimensions(network: nn.Module, _: object = None) -> nn.Module:
    """Exchange, in place, timm's attention by one without a tensor of five dimensions, which ncnn has not."""
    return _exchanged(
        network, lambda child: PlainAttention(child) if type(child) is Attention and not _has_extras(child) else None
    )


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


class Float32LayerNorm(nn.Module):
    """A layer norm in float32 between float16. ExecuTorch 1.5's own in float16 is wrong from a width of 256 on.

    Args:
        norm: The layer norm; it is converted to float32 in place.
    """

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm.float()

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, to the same."""
        found: Tensor = self.norm(x.float()).to(x.dtype)
        return found


class PlainLayerNorm(nn.Module):
    """Layer norm over the last dimension from means, a root and a quotient.

    Args:
        source: Whose weights it takes over.
    """

    def __init__(self, source: nn.LayerNorm) -> None:
        super().__init__()
        self.eps = source.eps
        self.weight, self.bias = source.weight, source.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., D)."""
        # In float16 a square overflows beyond 255 and the epsilon is next to nothing, so torch's own layer norm, too,
        # takes its moments in float32.
        wide = x.float()
        centred = wide - wide.mean(-1, keepdim=True)
        normal = (centred / ((centred * centred).mean(-1, keepdim=True) + self.eps).sqrt()).to(x.dtype)
        if self.weight is not None:
            normal = normal * self.weight
        return normal if self.bias is None else normal + self.bias


class PlainGelu(nn.Module):
    """relu(x) - |x| q(|x|), where q is the normal distribution's upper tail: GELU with an error below 1e-6.

    erfc(z) = t (a1 + t (a2 + ...)) exp(-z^2) with t = 1 / (1 + p z): Abramowitz and Stegun, 7.1.26, to 1.5e-7.
    """

    _P = 0.3275911
    _A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        size = x.abs()
        # A tensor of ones, because 1 / x becomes a Reciprocal, which NNAPI has not; of x's type, or float16 becomes
        # float32 from here on.
        t = torch.ones(1, dtype=x.dtype, device=x.device) / (1 + size * (self._P / math.sqrt(2)))
        series = t * self._A[-1]
        for coefficient in reversed(self._A[:-1]):
            series = (series + coefficient) * t
        return functional.relu(x) - size * (0.5 * series * (size * size * -0.5).exp())


class PlainAttention(nn.Module):
    """Attention whose tensors have four dimensions at most, as NNAPI's: timm cuts (B, N, 3, heads, D) in three.

    Args:
        source: Whose layers it takes over.
    """

    def __init__(self, source: Attention) -> None:
        super().__init__()
        self.heads, self.scale = source.num_heads, source.scale
        self.qkv, self.q_norm, self.k_norm, self.proj = source.qkv, source.q_norm, source.k_norm, source.proj

    def forward(self, x: Tensor, attn_mask: None = None, is_causal: bool = False) -> Tensor:
        """(B, N, C)."""
        batch, tokens, _ = x.shape
        query, key, value = (
            part.reshape(batch, tokens, self.heads, -1).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1)
        )
        weights = ((self.q_norm(query) * self.scale) @ self.k_norm(key).transpose(2, 3)).softmax(-1)
        mixed: Tensor = self.proj((weights @ value).transpose(1, 2).reshape(batch, tokens, -1))
        return mixed
