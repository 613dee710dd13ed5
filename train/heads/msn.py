"""MSN's head: projection and cosine prototypes (`facebookresearch/msn`)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize


class MSNProjection(nn.Module):
    """fc1, bn1, GELU, fc2, bn2, GELU, fc3."""

    def __init__(self, in_dim: int, *, hidden: int = 2048, out_dim: int = 256, batch_norm: bool = True) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_dim, hidden)
        self.bn1 = nn.BatchNorm1d(hidden) if batch_norm else nn.Identity()
        self.fc2 = nn.Linear(hidden, hidden)
        self.bn2 = nn.BatchNorm1d(hidden) if batch_norm else nn.Identity()
        self.fc3 = nn.Linear(hidden, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, D) -> embeddings (N, out_dim), not normalised."""
        embeddings: Tensor = self.fc3(gelu(self.bn2(self.fc2(gelu(self.bn1(self.fc1(x)))))))
        return embeddings


class MSNHead(nn.Module):
    """MSN's projection and its prototypes: scores are cosines in [-1, 1].

    Args:
        in_dim: Width D of the backbone.
        out_dim: Number of prototypes K.
        hidden: Width of the projection.
        bottleneck: Width of the embedding.
        batch_norm: In the projection.
    """

    def __init__(
        self, in_dim: int, out_dim: int, *, hidden: int = 2048, bottleneck: int = 256, batch_norm: bool = True
    ) -> None:
        super().__init__()
        self.in_dim = in_dim
        self.fc = MSNProjection(in_dim, hidden=hidden, out_dim=bottleneck, batch_norm=batch_norm)
        self.prototypes = nn.Parameter(normalize(torch.randn(out_dim, bottleneck), dim=1))

    def bottleneck(self, x: Tensor) -> Tensor:
        """Features (N, D) -> unit embeddings (N, bottleneck)."""
        return normalize(self.fc(x), dim=-1)

    def scores(self, bottleneck: Tensor) -> Tensor:
        """Unit embeddings (N, bottleneck) -> cosines (N, K)."""
        return bottleneck @ normalize(self.prototypes, dim=-1).T

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, D) -> cosines (N, K)."""
        return self.scores(self.bottleneck(x))
