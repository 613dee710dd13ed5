"""The networks that published teachers are: timm's, but for wide ResNets and for position embeddings."""

from typing import Any, cast

import timm
from timm.models.resnet import Bottleneck, ResNet
from torch import nn

from lowzoo.catalog import TeacherEntry
from lowzoo.architectures.positions import Rule, set_position_rule


def build_backbone(entry: TeacherEntry) -> nn.Module:
    """The headless network of a catalog teacher, not yet filled; a ViT takes images of any size."""
    if entry.width > 1:
        return wide_resnet50(entry.width)
    if entry.positions == "timm":
        network: nn.Module = timm.create_model(entry.architecture, num_classes=0)
        return network
    arguments: dict[str, Any] = {"img_size": entry.input_size[1], "dynamic_img_size": True}
    if entry.patch_size:
        arguments["patch_size"] = entry.patch_size
    vit: nn.Module = timm.create_model(entry.architecture, num_classes=0, **arguments)
    set_position_rule(vit, cast("Rule", entry.positions))
    return vit


def wide_resnet50(factor: int) -> nn.Module:
    """ResNet-50 with every width times `factor`, as SwAV has it.

    timm's `wide_resnet50_2` widens only the inside of its blocks, and timm's stem always is 64 wide: here the stem and
    the two layers that read it are replaced.
    """
    stem = 64 * factor
    network: nn.Module = ResNet(
        Bottleneck, [3, 4, 6, 3], channels=tuple(stem * 2**stage for stage in range(4)), num_classes=0
    )
    network.conv1 = nn.Conv2d(3, stem, kernel_size=7, stride=2, padding=3, bias=False)
    network.bn1 = nn.BatchNorm2d(stem)
    first = cast("Any", network.layer1)[0]
    first.conv1 = nn.Conv2d(stem, stem, kernel_size=1, bias=False)
    first.downsample[0] = nn.Conv2d(stem, 4 * stem, kernel_size=1, bias=False)
    return network
