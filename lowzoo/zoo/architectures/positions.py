"""How a ViT resamples its position embeddings for another grid: each family of official models has its own rule.

    dino   bicubic, not antialiased, with the scale (n + 0.1) / m passed on as such, which shifts the sampling grid
           (DINO, iBOT, SSLight)
    msn    bicubic, not antialiased, with the scale n / m
    timm   bicubic, antialiased

At 96 px the features differ by 0.04 to 0.29 between them, on scales of 2 to 90.
"""

from types import MethodType

import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lowzoo.base.errors import LowzooError
from lowzoo.catalog.position_rules import Rule


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
    maps = positions_1NC[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    if rule == "dino":
        scale = ((grid[0] + 0.1) / side, (grid[1] + 0.1) / side)
        maps = interpolate(maps.float(), scale_factor=scale, mode="bicubic").to(positions_1NC)
    else:  # a scale of n / m, but safe from a rounded n / m * m that falls below n
        maps = interpolate(maps.float(), size=grid, mode="bicubic").to(positions_1NC)
    return torch.cat((positions_1NC[:, :1], maps.flatten(2).transpose(1, 2)), 1)


def set_position_rule(vit: nn.Module, rule: Rule) -> None:
    """Let a timm ViT resample by `rule` at every size; its state dict stays as it is.

    Args:
        vit: With a class token that has a position, without registers; with `dynamic_img_size` where it is to take
            images of another size than it was made for.
        rule: See the module's docstring.

    Raises:
        LowzooError: The network is no such ViT.
    """
    has_class_position = getattr(vit, "pos_embed", None) is not None and not getattr(vit, "no_embed_class", True)
    if not has_class_position or getattr(vit, "cls_token", None) is None or getattr(vit, "reg_token", None) is not None:
        raise LowzooError(
            f"position rule {rule} needs a ViT whose class token has a position, and {type(vit).__name__} is none",
            "Use --set positions=timm",
        )

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
