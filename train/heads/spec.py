"""What a head is, as data."""

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, field_validator
from torch import nn

from lowzoo.base.registry import known_name
from lowzoo.train.heads.kinds import HEADS


class HeadSpec(BaseModel):
    """Enough to build a head again; fields that a kind does not know mean nothing to it.

    Args:
        kind: dino; ibot (dino with patches), ibot_mlp (RoB-iBOT's plain one); mlp (RoB's, without non-linearity); swav;
            msn; moco (MoCo-v2's and SEED's projection), simclr (with batch norm); linear (a
            classifier); fitted; or one that another package declares.
        layers: Linear layers before the last one, dino and ibot.
        hidden: Width of the hidden layers; 0 is the width of the features, moco and simclr.
        bottleneck: Width of the embedding before the prototypes; the embedding's own width, moco and simclr.
        batch_norm: After hidden layers; None is what the kind has in its publication.
        fixed_gain: Keep the gain of dino's last layer at 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = "dino"
    layers: PositiveInt = 3
    hidden: NonNegativeInt = 2048
    bottleneck: PositiveInt = 256
    batch_norm: bool | None = None
    fixed_gain: bool = False

    @field_validator("kind")
    @classmethod
    def _is_known(cls, kind: str) -> str:
        return known_name(HEADS, kind)

    def build(self, in_dim: int, out_dim: int) -> nn.Module:
        """A fresh head from D = `in_dim` features to K = `out_dim` scores."""
        return HEADS[self.kind].build(self, in_dim, out_dim)
