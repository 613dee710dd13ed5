"""A head for a backbone that was published without one: an extension of the papers."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class FittedHead(nn.Module):
    """Centre, project, l2, cosines with fitted prototypes; `lowzoo.train.teachers.fitting.fit_head` finds the buffers.

    Args:
        in_dim: Width D of the backbone.
        out_dim: Number of prototypes K.
        bottleneck: Width of the embedding.
    """

    mean: Tensor
    projection: Tensor
    prototypes: Tensor

    def __init__(self, in_dim: int, out_dim: int, *, bottleneck: int = 256) -> None:
        super().__init__()
        self.in_dim = in_dim
        self.register_buffer("mean", torch.zeros(in_dim))
        self.register_buffer("projection", torch.zeros(in_dim, bottleneck))
        self.register_buffer("prototypes", torch.zeros(out_dim, bottleneck))

    def bottleneck(self, x: Tensor) -> Tensor:
        """Features (N, D) -> unit embeddings (N, bottleneck)."""
        return normalize((x - self.mean) @ self.projection, dim=-1)

    def scores(self, bottleneck: Tensor) -> Tensor:
        """Unit embeddings (N, bottleneck) -> cosines (N, K)."""
        return bottleneck @ self.prototypes.T

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, D) -> cosines (N, K)."""
        return self.scores(self.bottleneck(x))
