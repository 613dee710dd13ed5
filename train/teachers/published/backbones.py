"""The networks that published teachers are: timm's, but for wide ResNets and for position embeddings."""

from typing import Any, cast

import timm
from torch import nn

from lowzoo.catalog import TeacherEntry
from lowzoo.catalog.position_rules import Rule
from lowzoo.zoo.architectures.positions import set_position_rule
from lowzoo.zoo.architectures.wide_resnet import WideResNet50


def build_backbone(entry: TeacherEntry) -> nn.Module:
    """The headless network of a catalog teacher, not yet filled; a ViT takes images of any size."""
    if entry.width > 1:
        return WideResNet50(entry.width, num_classes=0)
    if entry.positions == "timm":
        network: nn.Module = timm.create_model(entry.architecture, num_classes=0)
        return network
    arguments: dict[str, Any] = {"img_size": entry.input_size[1], "dynamic_img_size": True}
    if entry.patch_size:
        arguments["patch_size"] = entry.patch_size
    vit: nn.Module = timm.create_model(entry.architecture, num_classes=0, **arguments)
    set_position_rule(vit, cast("Rule", entry.positions))
    return vit
