"""Which numbers of a network are the features: its own output, class tokens of several blocks, or pooled maps."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from lowzoo.base.errors import LowzooError
from lowzoo.zoo.resolve import Resolved

OWN = "own"
_VIT = {
    "cls": "class token of the last block",
    "cls4": "class tokens of the last four blocks, each through the final norm, side by side",
    "pooled": "mean of the last block's patch tokens",
}
_CNN = {
    "pooled": "mean of the last maps",
    "pool2x1": "last maps averaged to 2 x 1, flattened",
    "pool2x2": "last maps averaged to 2 x 2, flattened",
}
_GRIDS = {"pooled": (1, 1), "pool2x1": (2, 1), "pool2x2": (2, 2)}


def is_vit(model: nn.Module) -> bool:
    """Tell whether timm's `model` is made of blocks over tokens, a class token first."""
    return getattr(model, "cls_token", None) is not None and hasattr(model, "forward_intermediates")


def kinds_of(model: nn.Module) -> dict[str, str]:
    """Name and meaning of the features that can be had from a network."""
    others = _VIT if is_vit(model) else _CNN if hasattr(model, "forward_head") else {}
    return {OWN: "what the network gives"} | others


class FeatureNetwork(nn.Module):
    """A network of timm that gives features of several kinds side by side, from one forward pass.

    Args:
        model: Headless, (B, 3, H, W) to (B, D).
        kinds: Names of `kinds_of`.
    """

    def __init__(self, model: nn.Module, kinds: Sequence[str]) -> None:
        super().__init__()
        self.model, self.kinds = model, tuple(kinds)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, sum of widths)."""
        return torch.cat(self.outputs(images), dim=1)

    def outputs(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> (B, D) of each kind."""
        if self.kinds == (OWN,):
            return [self.model(images)]
        if is_vit(self.model):
            tokens, blocks = self.model.forward_intermediates(  # type: ignore[operator]
                images, indices=4, norm=True, return_prefix_tokens=True
            )
            found = {
                "cls": blocks[-1][1][:, 0],
                "cls4": torch.cat([prefix[:, 0] for _, prefix in blocks], dim=1),
                "pooled": blocks[-1][0].mean(dim=(2, 3)),
            }
            return [self.model.forward_head(tokens) if kind == OWN else found[kind] for kind in self.kinds]  # type: ignore[operator]
        maps: Tensor = self.model.forward_features(images)  # type: ignore[operator]
        return [
            self.model.forward_head(maps) if kind == OWN else adaptive_avg_pool2d(maps, _GRIDS[kind]).flatten(1)  # type: ignore[operator]
            for kind in self.kinds
        ]

    def widths(self, input_size: tuple[int, int, int], device: str | torch.device) -> list[int]:
        """D of each kind."""
        with torch.inference_mode():
            return [x.shape[1] for x in self.outputs(torch.zeros(1, *input_size, device=device))]


def with_features(resolved: Resolved, kinds: Sequence[str]) -> tuple[Resolved, FeatureNetwork]:
    """The same network with features of these kinds side by side, also as `FeatureNetwork`.

    Raises:
        LowzooError: This network has no such features.
    """
    known = kinds_of(resolved.model)
    for kind in kinds:
        if kind not in known:
            raise LowzooError(f"{resolved.name} has no features {kind!r}", f"Choose of: {', '.join(known)}")
    network = FeatureNetwork(resolved.model, kinds).eval()
    return dataclasses.replace(resolved, model=network), network
