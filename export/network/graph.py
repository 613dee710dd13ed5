"""The network as it is exported: pixels in, features (or class scores, or feature maps) out."""

import torch
from timm.utils.model import reparameterize_model
from torch import Tensor, nn

from lowzoo.export.network.rewrites import (
    clamps_for_hard_activations,
    clamps_for_hard_sigmoids,
    float32_layer_norms,
    plain_mean_pools,
    plain_transformer_layers,
)
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.features.batch_norms import fold_batch_norms
from lowzoo.zoo.resolve import Resolved


class PixelsIn(nn.Module):
    """Normalise pixels inside the graph, then run the network; no resize is in the graph.

    Args:
        network: Takes normalised (B, C, H, W), gives features (B, D), or feature maps.
        mean: Mean of the normalisation, in [0, 1].
        std: Standard deviation of the normalisation, in [0, 1].
        width: W, where pixels come as (B, H, W, C); None where they come as (B, C, H, W).
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], width: int | None) -> None:
        super().__init__()
        self.network = network
        self.width = width
        self.channels = len(mean)
        # (x / 255 - mean) / std as one multiplication and one addition.
        scale, offset = 1 / (255 * torch.tensor(std)), -torch.tensor(mean) / torch.tensor(std)
        for name, values in (("scale", scale), ("offset", offset)):
            self.register_buffer(name, values.view(-1, 1, 1) if width is None else values.repeat(width))

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Pixels (B, H, W, C) or (B, C, H, W) in [0, 255] to what the network gives."""
        if self.width is None:
            planes = image.float() * self.scale + self.offset
        else:
            # A row of C W numbers at a time: onnxruntime moves the transposition of an int8 graph behind the
            # normalisation, which three by three took 2.1 of MobileNetV2's 5.9 ms.
            rows = image.flatten(2).float() * self.scale + self.offset
            planes = rows.unflatten(2, (self.width, self.channels)).permute(0, 3, 1, 2)
        features: Tensor | tuple[Tensor, ...] = self.network(planes)
        return features


class FloatFirst(nn.Module):
    """Bytes to float32 before anything else: Core ML's tensors hold no bytes, so this is left outside its part.

    Args:
        network: Takes float32.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Bytes of any shape to features (B, D)."""
        features: Tensor = self.network(image.float())
        return features


class HalfInside(nn.Module):
    """The network in float16 between a float32 input and float32 outputs.

    Args:
        network: Is changed to float16.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """float32 (B, C, H, W) to float32 (B, D), or to feature maps."""
        features: Tensor | tuple[Tensor, ...] = self.network(x.half())
        return tuple(each.float() for each in features) if isinstance(features, tuple) else features.float()


def exported_module(resolved: Resolved, spec: ExportSpec) -> nn.Module:
    """The module that is traced: a copy in eval mode, training-time branches (RepVGG, MobileOne, ...) merged."""
    network = plain_mean_pools(reparameterize_model(resolved.model))
    if spec.target in ("nnapi", "coreml-ep"):
        network = clamps_for_hard_activations(network)
    if spec.target == "nnapi":
        network = plain_transformer_layers(network)
    kind = spec.kind
    network = network if kind.inside is None else kind.call("inside", network, spec)
    if kind.gives_probabilities and spec.classes:
        network = nn.Sequential(network, nn.Softmax(dim=1))
    if spec.input == "image":
        width = resolved.input_size[2] if spec.pixels_last else None
        network = PixelsIn(network, resolved.mean, resolved.std, width)
    return (network if kind.outside is None else kind.call("outside", network, spec)).eval()


def half_where_wanted(network: nn.Module, spec: ExportSpec) -> nn.Module:
    """The network in float16 for that precision; formats whose tools round the finished program do without."""
    if spec.precision != "fp16":
        return network
    # Folded before anything is rounded: the parts of a batch norm span more than float16 can tell apart.
    fold_batch_norms(network.eval())
    return HalfInside(network)


def half_for_xnnpack(network: nn.Module, spec: ExportSpec) -> nn.Module:
    """The same for XNNPACK; Core ML's converter rounds the finished program."""
    if spec.precision != "fp16" or spec.core_ml_delegate:
        return network
    # torch takes a hard-sigmoid of float16 through float32, and each step there and back ends XNNPACK's part.
    return float32_layer_norms(half_where_wanted(clamps_for_hard_sigmoids(network), spec))


def bytes_outside_of_core_ml(network: nn.Module, spec: ExportSpec) -> nn.Module:
    """Bytes become floats before the part that ExecuTorch hands to Core ML."""
    return FloatFirst(network) if spec.core_ml_delegate and spec.input == "image" else network
