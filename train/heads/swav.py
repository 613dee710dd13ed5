"""SwAV's head: projection to the unit sphere, and prototypes (`facebookresearch/swav`)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class SwAVHead(nn.Module):
    """Linear, batch norm, ReLU, linear, l2; cosines with prototypes of unit length.

    Args:
        in_dim: Width D of the backbone.
        out_dim: Number of prototypes K.
        hidden: Width between.
        bottleneck: Width of the embedding.
        batch_norm: After the first layer; the published RegNet and ResNet-50-w5 heads have none.
    """

    def __init__(
        self, in_dim: int, out_dim: int, *, hidden: int = 2048, bottleneck: int = 128, batch_norm: bool = True
    ) -> None:
        super().__init__()
        self.in_dim = in_dim
        norm = [nn.BatchNorm1d(hidden)] if batch_norm else []
        self.projection_head = nn.Sequential(nn.Linear(in_dim, hidden), *norm, nn.ReLU(), nn.Linear(hidden, bottleneck))
        self.prototypes = nn.Linear(bottleneck, out_dim, bias=False)

    def bottleneck(self, x: Tensor) -> Tensor:
        """Features (N, D) -> unit embeddings (N, bottleneck)."""
        return normalize(self.projection_head(x), dim=-1)

    def scores(self, bottleneck: Tensor) -> Tensor:
        """Embeddings (N, bottleneck) -> scores (N, K)."""
        scores: Tensor = self.prototypes(bottleneck)
        return scores

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, D) -> scores (N, K)."""
        return self.scores(self.bottleneck(x))

    @torch.no_grad()
    def normalise_prototypes(self) -> None:
        """Put the prototypes back on the unit sphere, as SwAV does before every step."""
        self.prototypes.weight.copy_(normalize(self.prototypes.weight, dim=1))
