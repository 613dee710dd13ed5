"""The network as it is exported: pixels in, features out."""

from torch import Tensor, nn

from lowzoo.export.spec import ExportSpec
from lowzoo.resolve import Resolved


class PixelsIn(nn.Module):
    """Normalise RGB pixels inside the graph, then run the network; no resize is in the graph.

    Args:
        resolved: The network with its mean and standard deviation in [0, 1].
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, resolved: Resolved) -> None:
        import torch

        super().__init__()
        self.network = resolved.model
        mean, std = torch.tensor(resolved.mean), torch.tensor(resolved.std)
        # (x / 255 - mean) / std as one multiplication and one addition.
        self.register_buffer("scale", (1 / (255 * std)).view(1, 3, 1, 1))
        self.register_buffer("offset", (-mean / std).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """uint8 (B, S, S, 3) to features (B, D)."""
        features: Tensor = self.network(image.permute(0, 3, 1, 2).float() * self.scale + self.offset)
        return features


def exported_module(resolved: Resolved, spec: ExportSpec) -> nn.Module:
    """The module that is traced, in eval mode."""
    return (PixelsIn(resolved) if spec.input == "image" else resolved.model).eval()
