"""What training does to a ViT's patch tokens: drop some (MSN), replace some (iBOT)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class TokenDrop(nn.Module):
    """Drop a fraction of the patch tokens in training, after positions were added; the class token stays.

    Takes the place of timm's `patch_drop`, which knows only one choice of tokens an image.

    Args:
        rate: Fraction of the patch tokens that is dropped.
        per_image: Choose anew for each image, instead of once for the whole forward pass as MSN does it.
    """

    def __init__(self, rate: float, *, per_image: bool) -> None:
        super().__init__()
        self.rate = rate
        self.per_image = per_image
        self.active = True

    def forward(self, tokens_NLC: Tensor) -> Tensor:
        """(N, 1 + L, C) to (N, 1 + kept, C)."""
        if not (self.training and self.active and self.rate):
            return tokens_NLC
        images, length = tokens_NLC.shape[0], tokens_NLC.shape[1] - 1
        kept = max(1, int(length * (1 - self.rate)))
        device = tokens_NLC.device
        if self.per_image:
            chosen = torch.rand(images, length, device=device).argsort(1)[:, :kept]
        else:
            chosen = torch.randperm(length, device=device)[:kept].expand(images, -1)
        index = chosen.unsqueeze(-1).expand(-1, -1, tokens_NLC.shape[-1])
        return torch.cat((tokens_NLC[:, :1], tokens_NLC[:, 1:].gather(1, index)), 1)


class MaskedEmbedding(nn.Module):
    """The learned embedding that replaces masked patches before positions are added (iBOT's `masked_embed`).

    Args:
        backbone: A timm ViT; its patch embedding gets a hook, its state dict stays as it is.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(1, int(backbone.num_features)))  # type: ignore[arg-type]
        self._mask: Tensor | None = None
        backbone.patch_embed.register_forward_hook(self._replace)  # type: ignore[union-attr]

    @contextmanager
    def replacing(self, mask_NL: Tensor) -> Iterator[None]:
        """Replace the patches (N, L) that are True in forward passes inside the block."""
        self._mask = mask_NL
        try:
            yield
        finally:
            self._mask = None

    def _replace(self, _module: nn.Module, _inputs: object, patches: Tensor) -> Tensor:
        if self._mask is None:
            return patches
        # timm gives (N, L, C), or (N, h, w, C) where sizes are dynamic.
        mask = self._mask.view(*patches.shape[:-1], 1)
        return torch.where(mask, self.embedding.to(patches.dtype), patches)


def patch_side(backbone: nn.Module) -> int:
    """Side of a ViT's patches in pixels; 1 for a network without."""
    sides = getattr(getattr(backbone, "patch_embed", None), "patch_size", None)
    return int(sides[0]) if sides is not None else 1


def patch_tokens(vit: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, D) of the class token and (N, L, D) of the patches, both after the last norm."""
    tokens: Tensor = vit.forward_features(images)  # type: ignore[operator]
    return tokens[:, 0], tokens[:, 1:]
