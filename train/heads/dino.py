"""Heads of DINO (`facebookresearch/dino`) and iBOT (`bytedance/ibot`), and RoB-iBOT's plain one (VISSL)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lowzoo.train.heads.layers import drop_repeated, linear


class WeightNormLinear(nn.Module):
    """Linear layer without bias whose rows are `weight_g * weight_v / |weight_v|` (DINO's last layer).

    At 65,536 x 256 weights the rows' norms are memory traffic that rivals the matmuls; the fused kernel behind torch's
    own weight norm halves it, and `freeze` does away with it. A row of zeros gives NaN, as in DINO's own code.
    """

    _rows: Tensor | None

    def __init__(self, in_dim: int, out_dim: int, *, fixed_gain: bool = False) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(out_dim, 1), requires_grad=not fixed_gain)
        self.weight_v = nn.Parameter(torch.empty(out_dim, in_dim))
        nn.init.trunc_normal_(self.weight_v, std=0.02)
        self.register_buffer("_rows", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_dim) -> (N, out_dim)."""
        rows = self._normalised() if self._rows is None else self._rows
        return nn.functional.linear(x, rows)

    @torch.no_grad()
    def freeze(self) -> None:
        """Make the rows once for all: for weights that will never change again."""
        self._rows = self._normalised()

    def _normalised(self) -> Tensor:
        return torch._weight_norm(self.weight_v, self.weight_g, 0)


class DINOHead(nn.Module):
    """DINO's head: MLP with GELU to a bottleneck, l2, weight-normed linear.

    Args:
        in_dim: Width D of the backbone.
        out_dim: Number of prototypes K.
        layers: Linear layers of the MLP.
        hidden: Width of the MLP.
        bottleneck: Width before the last layer.
        batch_norm: Batch norm after each hidden layer (SSLight's CNN heads).
        fixed_gain: Keep the last layer's gain at 1 (DINO's `norm_last_layer`).
        plain_last: A last layer without weight norm, as the published DINO ResNet-50 has it.
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
        fixed_gain: bool = False,
        plain_last: bool = False,
    ) -> None:
        super().__init__()
        self.in_dim = in_dim
        self.mlp = _mlp(in_dim, layers, hidden, bottleneck, batch_norm)
        self.last_layer = (
            nn.Linear(bottleneck, out_dim, bias=False)
            if plain_last
            else WeightNormLinear(bottleneck, out_dim, fixed_gain=fixed_gain)
        )

    def bottleneck(self, x: Tensor) -> Tensor:
        """Features (N, D) -> unit vectors (N, bottleneck)."""
        return normalize(self.mlp(x), dim=-1)

    def scores(self, bottleneck: Tensor) -> Tensor:
        """Unit vectors (N, bottleneck) -> logits (N, K)."""
        logits: Tensor = self.last_layer(bottleneck)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, D) -> logits (N, K)."""
        return self.scores(self.bottleneck(x))


class IBOTHead(DINOHead):
    """iBOT's head: DINO's, with a second last layer for patches, which usually is the first one.

    Args:
        in_dim: Width D of the backbone.
        out_dim: Number of prototypes K of the class token.
        patch_out_dim: Number of outputs for a patch; None shares the last layer.
        layers: Linear layers of the MLP.
        hidden: Width of the MLP.
        bottleneck: Width before the last layer.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        patch_out_dim: int | None = None,
        layers: int = 3,
        hidden: int = 2048,
        bottleneck: int = 256,
    ) -> None:
        super().__init__(in_dim, out_dim, layers=layers, hidden=hidden, bottleneck=bottleneck)
        self.last_layer2 = None if patch_out_dim is None else WeightNormLinear(bottleneck, patch_out_dim)
        if patch_out_dim is None:
            self.register_load_state_dict_pre_hook(  # type: ignore[no-untyped-call]
                drop_repeated("last_layer2.", "last_layer.")
            )

    def patch_scores(self, patches: Tensor) -> Tensor:
        """Patch features (..., D) -> logits (..., K)."""
        last = self.last_layer if self.last_layer2 is None else self.last_layer2
        logits: Tensor = last(self.bottleneck(patches))
        return logits


class PatchMLPHead(nn.Module):
    """RoB-iBOT's plain student head (VISSL): MLP with GELU and one linear layer for class token and patches.

    Args:
        in_dim: Width D of the backbone.
        out_dim: Number of scores K.
        hidden: Width of the MLP.
        shared: False gives patches a last layer of their own.
    """

    def __init__(self, in_dim: int, out_dim: int, *, hidden: int = 2048, shared: bool = True) -> None:
        super().__init__()
        self.mlp = nn.Sequential(linear(in_dim, hidden), nn.GELU(), linear(hidden, hidden), nn.GELU())
        self.to_class_out = linear(hidden, out_dim)
        self.to_patch_out = None if shared else linear(hidden, out_dim)
        self.register_load_state_dict_pre_hook(  # type: ignore[no-untyped-call]
            drop_repeated("to_patch_out.", "to_class_out.")
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features (..., D) -> logits (..., K)."""
        logits: Tensor = self.to_class_out(self.mlp(x))
        return logits

    def patch_scores(self, patches: Tensor) -> Tensor:
        """Patch features (..., D) -> logits (..., K)."""
        logits: Tensor = (self.to_patch_out or self.to_class_out)(self.mlp(patches))
        return logits


def _mlp(in_dim: int, layers: int, hidden: int, out_dim: int, batch_norm: bool) -> nn.Sequential:
    widths = [in_dim, *[hidden] * (layers - 1), out_dim]
    modules: list[nn.Module] = []
    for i in range(layers):
        modules.append(linear(widths[i], widths[i + 1]))
        if i < layers - 1:
            modules += [nn.BatchNorm1d(hidden), nn.GELU()] if batch_norm else [nn.GELU()]
    return nn.Sequential(*modules)
