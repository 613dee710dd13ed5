"""Projection heads, student's and teacher's: features (N, D) in, scores (N, K) out.

Every head that can belong to a published teacher keeps the parameter names of its original, so that its state dict
loads as it is.
"""

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import normalize


class WeightNormLinear(nn.Module):
    """Linear layer without bias whose rows are `weight_g * weight_v / |weight_v|` (DINO's last layer)."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(out_dim, 1))
        self.weight_v = nn.Parameter(torch.empty(out_dim, in_dim))
        nn.init.trunc_normal_(self.weight_v, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_dim) -> (N, out_dim)."""
        return nn.functional.linear(x, self.weight_g * normalize(self.weight_v, dim=1))


class DINOHead(nn.Module):
    """DINO's head: MLP with GELU to a bottleneck, l2, weight-normed linear (`facebookresearch/dino`).

    Args:
        in_dim: Width D of the backbone.
        out_dim: Number of prototypes K.
        layers: Linear layers of the MLP.
        hidden: Width of the MLP.
        bottleneck: Width before the last layer.
        batch_norm: Batch norm after each hidden layer (SSLight's CNN heads).
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        layers: int = 3,
        hidden: int = 2048,
        bottleneck: int = 256,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        widths = [in_dim, *[hidden] * (layers - 1), bottleneck]
        modules: list[nn.Module] = []
        for i in range(layers):
            modules.append(_linear(widths[i], widths[i + 1]))
            if i < layers - 1:
                modules += [nn.BatchNorm1d(hidden), nn.GELU()] if batch_norm else [nn.GELU()]
        self.mlp = nn.Sequential(*modules)
        self.last_layer = WeightNormLinear(bottleneck, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, D) -> logits (N, K)."""
        logits: Tensor = self.last_layer(normalize(self.mlp(x), dim=-1))
        return logits


class MLPHead(nn.Module):
    """RoB's plain student head: stacked linear layers, optional batch norm, **no** non-linearity (VISSL's `mlp`)."""

    def __init__(self, in_dim: int, out_dim: int, *, hidden: int = 2048, batch_norm: bool = False) -> None:
        super().__init__()
        norm = [nn.BatchNorm1d(hidden)] if batch_norm else []
        self.clf = nn.Sequential(_linear(in_dim, hidden), *norm, _linear(hidden, out_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, D) -> logits (N, K)."""
        logits: Tensor = self.clf(x)
        return logits


class MSNProjection(nn.Module):
    """MSN's projection: fc1, bn1, GELU, fc2, bn2, GELU, fc3 (`facebookresearch/msn`)."""

    def __init__(self, in_dim: int, *, hidden: int = 2048, out_dim: int = 256, batch_norm: bool = True) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_dim, hidden)
        self.bn1 = nn.BatchNorm1d(hidden) if batch_norm else nn.Identity()
        self.fc2 = nn.Linear(hidden, hidden)
        self.bn2 = nn.BatchNorm1d(hidden) if batch_norm else nn.Identity()
        self.fc3 = nn.Linear(hidden, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, D) -> embeddings (N, out_dim), not normalised."""
        gelu = nn.functional.gelu
        embeddings: Tensor = self.fc3(gelu(self.bn2(self.fc2(gelu(self.bn1(self.fc1(x)))))))
        return embeddings


class MSNHead(nn.Module):
    """MSN's projection and its prototypes: scores are cosines in [-1, 1]."""

    def __init__(
        self, in_dim: int, out_dim: int, *, hidden: int = 2048, bottleneck: int = 256, batch_norm: bool = True
    ) -> None:
        super().__init__()
        self.fc = MSNProjection(in_dim, hidden=hidden, out_dim=bottleneck, batch_norm=batch_norm)
        self.prototypes = nn.Parameter(normalize(torch.randn(out_dim, bottleneck), dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, D) -> cosines (N, K)."""
        return normalize(self.fc(x), dim=-1) @ normalize(self.prototypes, dim=-1).T


class FittedHead(nn.Module):
    """A head for a backbone that has none: centre, project, l2, cosines with fitted prototypes.

    An extension of the paper; `lowzoo.train.prototypes.fit_head` finds the buffers.
    """

    mean: Tensor
    projection: Tensor
    prototypes: Tensor

    def __init__(self, in_dim: int, out_dim: int, *, bottleneck: int = 256) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(in_dim))
        self.register_buffer("projection", torch.zeros(in_dim, bottleneck))
        self.register_buffer("prototypes", torch.zeros(out_dim, bottleneck))

    def embed(self, x: Tensor) -> Tensor:
        """Features (N, D) -> unit embeddings (N, bottleneck)."""
        return normalize((x - self.mean) @ self.projection, dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, D) -> cosines (N, K)."""
        return self.embed(x) @ self.prototypes.T


class HeadSpec(BaseModel):
    """What a head is, as data: enough to build it again.

    Fields that a kind does not know must keep their defaults.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["dino", "mlp", "msn", "fitted"] = "dino"
    layers: PositiveInt = 3
    hidden: PositiveInt = 2048
    bottleneck: PositiveInt = 256
    batch_norm: bool = False

    def build(self, in_dim: int, out_dim: int) -> nn.Module:
        """A fresh head from D = `in_dim` features to K = `out_dim` scores."""
        if self.kind == "dino":
            return DINOHead(
                in_dim,
                out_dim,
                layers=self.layers,
                hidden=self.hidden,
                bottleneck=self.bottleneck,
                batch_norm=self.batch_norm,
            )
        if self.kind == "mlp":
            return MLPHead(in_dim, out_dim, hidden=self.hidden, batch_norm=self.batch_norm)
        if self.kind == "msn":
            return MSNHead(in_dim, out_dim, hidden=self.hidden, bottleneck=self.bottleneck, batch_norm=self.batch_norm)
        return FittedHead(in_dim, out_dim, bottleneck=self.bottleneck)


def _linear(in_dim: int, out_dim: int) -> nn.Linear:
    layer = nn.Linear(in_dim, out_dim)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer
