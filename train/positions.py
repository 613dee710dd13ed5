"""How a ViT resamples its position embeddings for another grid: each family of official models has its own rule.

    dino   bicubic, not antialiased, with the scale (n + 0.1) / m passed on as such, which shifts the sampling grid
           (DINO, iBOT, SSLight)
    msn    bicubic, not antialiased, with the scale n / m
    timm   bicubic, antialiased

At 96 px the features differ by 0.04 to 0.29 between them, on scales of 2 to 90.
"""

from types import MethodType
from typing import Literal

import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn
from torch.nn.functional import interpolate

Rule = Literal["timm", "dino", "msn"]


def resize_positions(positions_1NC: Tensor, grid: tuple[int, int], rule: Rule) -> Tensor:
    """Resample the position embeddings (1, 1 + n * n, C), class token first, to `grid` (rows, columns).

    Returns:
        (1, 1 + rows * columns, C); the input where it has that grid already.
    """
    side = int((positions_1NC.shape[1] - 1) ** 0.5)
    if grid == (side, side):
        return positions_1NC
    if rule == "timm":
        resampled: Tensor = resample_abs_pos_embed(positions_1NC, list(grid), num_prefix_tokens=1)
        return resampled
    extra = 0.1 if rule == "dino" else 0.0
    maps = positions_1NC[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    scale = ((grid[0] + extra) / side, (grid[1] + extra) / side)
    maps = interpolate(maps.float(), scale_factor=scale, mode="bicubic").to(positions_1NC)
    return torch.cat((positions_1NC[:, :1], maps.flatten(2).transpose(1, 2)), 1)


def set_position_rule(vit: nn.Module, rule: Rule) -> None:
    """Let a timm ViT with a class token and dynamic sizes resample by `rule`; its state dict stays as it is."""

    def positioned(self: nn.Module, patches: Tensor, *_: object, **__: object) -> Tensor:
        if patches.ndim == 4:
            grid = (patches.shape[1], patches.shape[2])
            patches = patches.flatten(1, 2)
        else:
            grid = self.patch_embed.grid_size  # type: ignore[union-attr,assignment]
        tokens = torch.cat((self.cls_token.expand(len(patches), -1, -1), patches), 1)  # type: ignore[operator]
        placed: Tensor = self.pos_drop(tokens + resize_positions(self.pos_embed, tuple(grid), rule))  # type: ignore[operator,arg-type]
        return placed

    vit._pos_embed = MethodType(positioned, vit)  # type: ignore[assignment]
