"""The network as it is exported: pixels in, features out."""

import torch
from timm.utils.model import reparameterize_model
from torch import Tensor, nn

from lowzoo.export.spec import ExportSpec
from lowzoo.resolve import Resolved


class PixelsIn(nn.Module):
    """Normalise RGB pixels inside the graph, then run the network; no resize is in the graph.

    Args:
        network: Takes normalised (B, 3, S, S), gives features (B, D).
        mean: Of the normalisation, in [0, 1].
        std: Of the normalisation, in [0, 1].
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        # (x / 255 - mean) / std as one multiplication and one addition.
        self.register_buffer("scale", (1 / (255 * torch.tensor(std))).view(1, 3, 1, 1))
        self.register_buffer("offset", (-torch.tensor(mean) / torch.tensor(std)).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """uint8 (B, S, S, 3) to features (B, D)."""
        features: Tensor = self.network(image.permute(0, 3, 1, 2).float() * self.scale + self.offset)
        return features


def exported_module(resolved: Resolved, spec: ExportSpec) -> nn.Module:
    """The module that is traced: a copy in eval mode, training-time branches (RepVGG, MobileOne, ...) merged."""
    network = reparameterize_model(resolved.model)
    return (PixelsIn(network, resolved.mean, resolved.std) if spec.input == "image" else network).eval()
