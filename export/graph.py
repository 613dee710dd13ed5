"""The network as it is exported: pixels in, features (or class scores) out."""

import torch
from timm.utils.model import reparameterize_model
from torch import Tensor, nn

from lowzoo.export.rewrites import clamps_for_hard_activations, plain_mean_pools, plain_transformer_layers
from lowzoo.export.spec import ExportSpec
from lowzoo.resolve import Resolved


class PixelsIn(nn.Module):
    """Normalise RGB pixels inside the graph, then run the network; no resize is in the graph.

    Args:
        network: Takes normalised (B, 3, S, S), gives features (B, D).
        mean: Of the normalisation, in [0, 1].
        std: Of the normalisation, in [0, 1].
        pixels_last: Takes (B, S, S, 3) and not (B, 3, S, S).
    """

    scale: Tensor
    offset: Tensor

    def __init__(
        self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], pixels_last: bool = True
    ) -> None:
        super().__init__()
        self.network = network
        self.pixels_last = pixels_last
        # (x / 255 - mean) / std as one multiplication and one addition.
        self.register_buffer("scale", (1 / (255 * torch.tensor(std))).view(1, 3, 1, 1))
        self.register_buffer("offset", (-torch.tensor(mean) / torch.tensor(std)).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Pixels (B, S, S, 3) or (B, 3, S, S) in [0, 255] to features (B, D)."""
        planes = image.permute(0, 3, 1, 2) if self.pixels_last else image
        features: Tensor = self.network(planes.float() * self.scale + self.offset)
        return features


class HalfInside(nn.Module):
    """The network in float16 between a float32 input and a float32 output.

    Args:
        network: Is changed to float16.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, x: Tensor) -> Tensor:
        """float32 (B, 3, S, S) to float32 (B, D)."""
        features: Tensor = self.network(x.half())
        return features.float()


def exported_module(resolved: Resolved, spec: ExportSpec) -> nn.Module:
    """The module that is traced: a copy in eval mode, training-time branches (RepVGG, MobileOne, ...) merged."""
    network = plain_mean_pools(reparameterize_model(resolved.model))
    if spec.target in ("nnapi", "coreml-ep"):
        network = clamps_for_hard_activations(network)
    if spec.target == "nnapi":
        network = plain_transformer_layers(network)
    if spec.format == "onnx" and spec.precision == "fp16":
        network = HalfInside(network)
    if spec.format == "coreml" and spec.classes:
        network = nn.Sequential(network, nn.Softmax(dim=1))
    if spec.input == "image":
        network = PixelsIn(network, resolved.mean, resolved.std, spec.pixels_last)
    return network.eval()
