"""Maps of several strides off a backbone: the stages of a CNN, or a ViT's one map scaled up and down."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from timm.layers import LayerNorm2d
from timm.models.efficientnet import EfficientNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, pad
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.catalog.position_rules import Rule
from lowzoo.detection.network.shape import DetectorShape
from lowzoo.zoo.architectures.positions import resize_positions

# Sides of the image that a network's maps are tried with.
_TRIED = 128
# Width of a spatial prior's first convolution.
_NARROWEST = 32


def level_name(stride: int) -> str:
    """The usual name of a pyramid's level: p2 of stride 4, p3 of stride 8, ..."""
    return f"p{stride.bit_length() - 1}"


def pyramid_of(network: nn.Module, shape: DetectorShape, name: str, positions: Rule) -> nn.Module:
    """The layers from an image to the levels of a detector.

    Args:
        network: A headless network of timm, which is changed: what lies behind its last map is taken out.
        shape: Of the detector.
        name: The network's, for messages.
        positions: How a ViT resamples its position embeddings, see `lowzoo.zoo.architectures.positions`.

    Raises:
        LowzooError: The network gives no such maps.
    """
    if isinstance(network, VisionTransformer):
        if shape.kind == "c4":
            raise LowzooError(f"a C4 detector ends in a stage of a ResNet, and {name} is a ViT", "Take an FPN preset")
        return VitPyramid(network, shape, name, positions)
    if shape.spatial_prior:
        raise LowzooError(f"a spatial prior is for a ViT, and {name} is none", "Leave out network.spatial_prior")
    return CnnPyramid(StageMaps(network, shape.strides, name, head_map=shape.head_map), shape)


class StageMaps(nn.Module):
    """The maps of a network's stages.

    Args:
        network: With `forward_intermediates`, as nearly all of timm's have.
        strides: Strides of the maps, rising.
        name: The network's, for messages.
        head_map: See `DetectorShape`.

    Raises:
        LowzooError: It has no maps of these strides.
    """

    def __init__(self, network: nn.Module, strides: Sequence[int], name: str, *, head_map: bool = False) -> None:
        super().__init__()
        info: Any = getattr(network, "feature_info", None)
        if not info or not hasattr(network, "forward_intermediates"):
            raise _no_maps(name, "timm knows no intermediate maps of this architecture")
        # Of several maps of a stride the last one, which has seen most.
        index_of = {round(info[i]["reduction"]): i for i in range(len(info))}
        if missing := [stride for stride in strides if stride not in index_of]:
            raise _no_maps(name, f"no map of stride {missing[0]}, it has {', '.join(map(str, sorted(index_of)))}")
        self.strides, self.indices = tuple(strides), [index_of[s] for s in strides]
        # Of other networks the convolution at the end comes after the pooling, and has no map.
        self.head_map = head_map = head_map and isinstance(network, EfficientNet)
        unused: Any = getattr(network, "prune_intermediate_layers", None)
        if unused is not None:
            unused(self.indices, prune_norm=False, prune_head=not head_map)
        self.network: Any = network
        try:
            self.channels: tuple[int, ...] = tuple(each.shape[1] for each in _shapes(self))
        except Exception as error:  # a network's own code may raise anything
            raise _no_maps(name, reason_of(error)) from error

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to a map (B, C, h, w) each."""
        run: Any = self.network.forward_intermediates
        if self.head_map:
            final, found = run(x, indices=self.indices, output_fmt="NCHW")
            return [*found[:-1], final]
        maps: list[Tensor] = run(x, indices=self.indices, output_fmt="NCHW", intermediates_only=True)
        return list(maps)


class CnnPyramid(nn.Module):
    """A feature pyramid over the stages of a network (Lin et al., arXiv 1612.03144), or its one map for "c4".

    Args:
        maps: See `StageMaps`.
        shape: Of the detector.
    """

    def __init__(self, maps: StageMaps, shape: DetectorShape) -> None:
        super().__init__()
        self.maps = maps
        self.fpn: nn.Module | None = None
        self.widths: tuple[int, ...] = maps.channels
        if shape.kind == "fpn":
            norm = nn.BatchNorm2d if shape.pyramid_norm == "batch" else None
            self.fpn = FeaturePyramidNetwork(
                list(maps.channels), shape.channels, extra_blocks=LastLevelMaxPool(), norm_layer=norm
            )
            self.widths = (shape.channels,) * (len(maps.strides) + 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to the levels by name, the finest first."""
        found = OrderedDict(zip(map(level_name, self.maps.strides), self.maps(x), strict=True))
        if self.fpn is None:
            return found
        levels: dict[str, Tensor] = self.fpn(found)
        return _named_top(levels, self.maps.strides[-1])


class VitPyramid(nn.Module):
    """A simple feature pyramid over a plain ViT (Li et al., arXiv 2203.16527).

    Patch tokens of the last block become a map; each level scales it by transposed convolutions or pooling, then by
    1 x 1 and 3 x 3 convolutions with layer norms; where the shape has one, a `SpatialPrior` is added between these.
    With windowed attention, prefix tokens are left out, as they belong to no window. Unlike there, the network's final
    norm is kept, as it was trained with it.

    Args:
        vit: A ViT of timm with absolute positions.
        shape: Of the detector.
        name: The network's, for messages.
        positions: See `pyramid_of`.

    Raises:
        LowzooError: It is another kind of ViT, or its patches do not fit the strides.
    """

    def __init__(self, vit: VisionTransformer, shape: DetectorShape, name: str, positions: Rule) -> None:
        super().__init__()
        network: Any = vit
        if getattr(network, "pos_embed", None) is None or not hasattr(network.patch_embed, "proj"):
            raise _no_maps(name, "it has no absolute position embeddings")
        (patch, other) = network.patch_embed.patch_size
        if patch != other or any(max(patch, s) % min(patch, s) or patch / s > 4 for s in shape.strides):
            raise _no_maps(name, f"patches of {patch} px do not scale to strides {', '.join(map(str, shape.strides))}")
        self.strides, self.window, self.positions = shape.strides, 0, positions
        self.patch = int(patch)
        if shape.attention == "window":
            self.window = shape.window
        blocks = len(network.blocks)
        # The last block of each quarter.
        self.looks_everywhere = {(quarter + 1) * blocks // 4 - 1 for quarter in range(4)}
        self.vit = network
        for unused in ("fc_norm", "head", "head_drop", "attn_pool"):
            if getattr(network, unused, None) is not None:
                setattr(network, unused, nn.Identity())
        if self.window:
            for token in self._tokens():  # without a place in the network, they would get no gradient
                token.requires_grad_(False)
        width = int(network.embed_dim)
        self.scales: Any = nn.ModuleList(_scaled(width, self.patch, stride, shape.channels) for stride in shape.strides)
        if shape.spatial_prior and shape.strides[-1] % self.patch:
            raise LowzooError(
                f"a spatial prior needs a level of {self.patch} px or coarser, the patches of {name}, and the last has "
                f"{shape.strides[-1]}",
                "Add a coarser stride, or set network.spatial_prior=false",
            )
        self.prior = SpatialPrior(shape.channels, shape.strides) if shape.spatial_prior else None
        self.widths = (shape.channels,) * (len(shape.strides) + 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to the levels by name, the finest first."""
        found = self._map(x)
        maps = [scale[:-2](found) for scale in self.scales]
        if self.prior is not None:
            maps = [scaled + prior for scaled, prior in zip(maps, self.prior(x), strict=True)]
        levels = OrderedDict(
            (level_name(stride), scale[-2:](scaled))
            for stride, scale, scaled in zip(self.strides, self.scales, maps, strict=True)
        )
        top = levels[level_name(self.strides[-1])]
        levels[level_name(2 * self.strides[-1])] = max_pool2d(top, 1, 2)
        return levels

    def _map(self, x: Tensor) -> Tensor:
        vit = self.vit
        maps = vit.patch_embed.proj(x)
        rows, columns = maps.shape[-2:]
        patches: Tensor = vit.patch_embed.norm(maps.flatten(2).transpose(1, 2))
        prefix, places = self._places((rows, columns))
        tokens = patches + places
        if not self.window:
            tokens = torch.cat([*(each.expand(len(x), -1, -1) for each in prefix), tokens], 1)
        count = tokens.shape[1] - rows * columns
        tokens = vit.norm_pre(vit.pos_drop(tokens))
        for number, block in enumerate(vit.blocks):
            inside = self.window and number not in self.looks_everywhere and max(rows, columns) > self.window
            tokens = _in_windows(block, tokens, (rows, columns), self.window) if inside else block(tokens)
        patches = vit.norm(tokens)[:, count:]
        return patches.transpose(1, 2).reshape(len(x), -1, rows, columns)

    def _places(self, grid: tuple[int, int]) -> tuple[list[Tensor], Tensor]:
        """Prefix tokens with their positions, and the positions of the patches."""
        vit = self.vit
        side = vit.patch_embed.grid_size
        own = vit.pos_embed.shape[1] - side[0] * side[1]
        patches = vit.pos_embed[:, own:]
        first = vit.pos_embed[:, :1]  # holds the place of a class token, which every rule leaves as it is
        places = resize_positions(torch.cat((first, patches), 1), grid, self.positions)[:, 1:]
        tokens = self._tokens()
        if own and tokens:
            return [torch.cat(tokens, 1) + vit.pos_embed[:, :own]], places
        return tokens, places

    def _tokens(self) -> list[Tensor]:
        """Tokens that stand for no patch, in their order."""
        named = (getattr(self.vit, name, None) for name in ("cls_token", "dist_token", "reg_token"))
        return [token for token in named if token is not None]


class SpatialPrior(nn.Module):
    """Maps of a few convolutions on the image itself (Chen et al., arXiv 2205.08534, there with cross-attention).

    A ViT tells what an object is, by patches that are coarser than its edges; in a short training on few images these
    convolutions find the edges sooner.

    Args:
        channels: Of each map.
        strides: Their strides, rising powers of two.
    """

    def __init__(self, channels: int, strides: Sequence[int]) -> None:
        super().__init__()
        halvings = strides[0].bit_length() - 1
        widths = [3, *(_NARROWEST * 2**i for i in range(halvings - 1)), channels]
        stem = [_convolved(before, after, 2) for before, after in pairwise(widths)]
        later = [_convolved(channels, channels, after // before) for before, after in pairwise(strides)]
        self.stages = nn.ModuleList([nn.Sequential(*stem, _convolved(channels, channels)), *later])

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to a map (B, C, h, w) of each stride."""
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


def _convolved(width: int, channels: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(width, channels, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())


def _scaled(width: int, patch: int, stride: int, channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    now = width
    if stride < patch:
        steps = (patch // stride).bit_length() - 1
        for step in range(steps):
            layers.append(nn.ConvTranspose2d(now, now // 2, 2, 2))
            now //= 2
            if step + 1 < steps:
                layers += [LayerNorm2d(now), nn.GELU()]
    elif stride > patch:
        layers.append(nn.MaxPool2d(stride // patch))
    layers += [nn.Conv2d(now, channels, 1, bias=False), LayerNorm2d(channels)]
    layers += [nn.Conv2d(channels, channels, 3, padding=1, bias=False), LayerNorm2d(channels)]
    return nn.Sequential(*layers)


def _in_windows(block: nn.Module, tokens: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Run a block on windows of (side, side) tokens; the last ones are filled up with zeros."""
    (batch, _, width), (rows, columns) = tokens.shape, grid
    down, right = -rows % side, -columns % side
    maps = pad(tokens.view(batch, rows, columns, width), (0, 0, 0, right, 0, down))
    tall, wide = (rows + down) // side, (columns + right) // side
    windows = maps.view(batch, tall, side, wide, side, width).transpose(2, 3).reshape(-1, side * side, width)
    through: Tensor = block(windows)
    maps = through.view(batch, tall, wide, side, side, width).transpose(2, 3)
    return maps.reshape(batch, rows + down, columns + right, width)[:, :rows, :columns].reshape(batch, -1, width)


def _named_top(levels: dict[str, Tensor], stride: int) -> dict[str, Tensor]:
    """The pyramid's extra level by its usual name."""
    levels[level_name(2 * stride)] = levels.pop("pool")
    return levels


def _shapes(maps: StageMaps) -> list[Tensor]:
    training = maps.network.training
    maps.network.eval()
    with torch.no_grad():
        found: list[Tensor] = maps(torch.zeros(1, 3, _TRIED, _TRIED))
    maps.network.train(training)
    return found


def _no_maps(name: str, reason: str) -> LowzooError:
    return LowzooError(f"{name} cannot carry a detector: {reason}", "Name another backbone")
