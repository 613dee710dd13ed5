"""Plain multi-layer heads: RoB's (VISSL), and those of MoCo-v2, SEED and SimCLR, whose output is the embedding."""

from torch import Tensor, nn

from lowzoo.train.heads.layers import linear


class MLPHead(nn.Module):
    """RoB's plain student head: stacked linear layers, optional batch norm, **no** non-linearity (VISSL's `mlp`)."""

    def __init__(self, in_dim: int, out_dim: int, *, hidden: int = 2048, batch_norm: bool = False) -> None:
        super().__init__()
        norm = [nn.BatchNorm1d(hidden)] if batch_norm else []
        self.clf = nn.Sequential(linear(in_dim, hidden), *norm, linear(hidden, out_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, D) -> logits (N, K)."""
        logits: Tensor = self.clf(x)
        return logits


class ProjectionHead(nn.Module):
    """Linear, optional batch norm (SimCLR), ReLU, linear: MoCo-v2's and SEED's projection, not normalised.

    Args:
        in_dim: Width D of the backbone.
        out_dim: Width of the embedding.
        hidden: Width between; 0 is D.
        batch_norm: As in SimCLR.
    """

    def __init__(self, in_dim: int, out_dim: int, *, hidden: int = 0, batch_norm: bool = False) -> None:
        super().__init__()
        self.in_dim = in_dim
        width = hidden or in_dim
        norm = [nn.BatchNorm1d(width)] if batch_norm else []
        self.mlp = nn.Sequential(nn.Linear(in_dim, width), *norm, nn.ReLU(), nn.Linear(width, out_dim))

    def bottleneck(self, x: Tensor) -> Tensor:
        """Features (N, D) -> embeddings (N, out_dim)."""
        embeddings: Tensor = self.mlp(x)
        return embeddings

    def scores(self, bottleneck: Tensor) -> Tensor:
        """The embedding itself: these heads have no prototypes."""
        return bottleneck

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, D) -> embeddings (N, out_dim)."""
        return self.bottleneck(x)
