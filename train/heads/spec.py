"""What a head is, as data."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt
from torch import nn

from lowzoo.train.heads.dino import DINOHead, IBOTHead, PatchMLPHead
from lowzoo.train.heads.fitted import FittedHead
from lowzoo.train.heads.mlp import MLPHead, ProjectionHead
from lowzoo.train.heads.msn import MSNHead
from lowzoo.train.heads.swav import SwAVHead


class HeadSpec(BaseModel):
    """Enough to build a head again; fields that a kind does not know mean nothing to it.

    Args:
        kind: dino; ibot (dino with patches), ibot_mlp (RoB-iBOT's plain one); mlp (RoB's, without non-linearity); swav;
            msn; moco (MoCo-v2's and SEED's projection), simclr (with batch norm); linear (a
            classifier); fitted.
        layers: Linear layers before the last one, dino and ibot.
        hidden: Width of the hidden layers; 0 is the width of the features, moco and simclr.
        bottleneck: Width of the embedding before the prototypes; the embedding's own width, moco and simclr.
        batch_norm: After hidden layers; None is what the kind has in its publication.
        fixed_gain: Keep the gain of dino's last layer at 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["dino", "ibot", "ibot_mlp", "mlp", "swav", "msn", "moco", "simclr", "fitted", "linear"] = "dino"
    layers: PositiveInt = 3
    hidden: NonNegativeInt = 2048
    bottleneck: PositiveInt = 256
    batch_norm: bool | None = None
    fixed_gain: bool = False

    def build(self, in_dim: int, out_dim: int) -> nn.Module:
        """A fresh head from D = `in_dim` features to K = `out_dim` scores."""
        hidden = self.hidden or in_dim
        norm = bool(self.batch_norm)
        norm_unless_told = self.batch_norm is not False
        if self.kind == "dino":
            return DINOHead(
                in_dim,
                out_dim,
                layers=self.layers,
                hidden=hidden,
                bottleneck=self.bottleneck,
                batch_norm=norm,
                fixed_gain=self.fixed_gain,
            )
        if self.kind == "ibot":
            return IBOTHead(in_dim, out_dim, layers=self.layers, hidden=hidden, bottleneck=self.bottleneck)
        if self.kind == "ibot_mlp":
            return PatchMLPHead(in_dim, out_dim, hidden=hidden)
        if self.kind == "mlp":
            return MLPHead(in_dim, out_dim, hidden=hidden, batch_norm=norm)
        if self.kind == "swav":
            return SwAVHead(in_dim, out_dim, hidden=hidden, bottleneck=self.bottleneck, batch_norm=norm_unless_told)
        if self.kind == "msn":
            return MSNHead(in_dim, out_dim, hidden=hidden, bottleneck=self.bottleneck, batch_norm=norm_unless_told)
        if self.kind in ("moco", "simclr"):
            return ProjectionHead(in_dim, out_dim, hidden=hidden, batch_norm=norm or self.kind == "simclr")
        if self.kind == "linear":
            return nn.Linear(in_dim, out_dim)
        return FittedHead(in_dim, out_dim, bottleneck=self.bottleneck)
