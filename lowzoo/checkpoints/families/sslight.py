"""SSLight: the branch that its authors evaluate; the student of DINO, the query encoder of MoCo, SwAV's one network.

Below the branch the backbone is `backbone.*` (ViT, timm's names) or `backbone.encoder.N.*` (a Sequential of a CNN's
parts). Facts: saic-fi/SSLight 0b94aeb.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from lowzoo.catalog.position_rules import Rule
from lowzoo.checkpoints.families.family import MOBILENETV2_STAGES, Family, State, inside, stage_and_block, tensors

_BRANCHES = {"dino": "student.backbone.", "swav": "network.backbone.", "moco": "encoder_q.backbone."}
_RESNET = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_MOBILENETV2_ENDS = {"0.0": "conv_stem", "0.1": "bn1", "18.0": "conv_head", "18.1": "bn2"}
_FIRST = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
_EXPANDED = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"}


def _branch(content: Mapping[str, Any], *, prefix: str) -> State | None:
    return inside(tensors(content.get("state_dict")), prefix)


def _resnet(state: State) -> State:
    renamed = {}
    for key, value in state.items():
        found = re.match(r"encoder\.(\d+)\.(.*)", key)
        renamed[f"{_RESNET[found[1]]}.{found[2]}" if found and found[1] in _RESNET else key] = value
    return renamed


def _mobilenetv2(state: State) -> State:
    return {_mobilenetv2_name(key): value for key, value in state.items()}


def _mobilenetv2_name(key: str) -> str:
    if found := re.match(r"encoder\.(\d+)\.conv\.(\d+\.\d+|\d+)\.(\w+)$", key):
        index = int(found[1])
        layers = _FIRST if index == 1 else _EXPANDED
        block = stage_and_block(index - 1, MOBILENETV2_STAGES)
        return f"{block}.{layers[found[2]]}.{found[3]}" if found[2] in layers else key
    found = re.match(r"encoder\.(\d+\.\d+)\.(.*)", key)
    return f"{_MOBILENETV2_ENDS[found[1]]}.{found[2]}" if found and found[1] in _MOBILENETV2_ENDS else key


def _family(name: str, architecture: str, rename: Any = dict, positions: Rule = "timm") -> Family:
    prefix = _BRANCHES[name.split("_")[1]]
    return Family(
        name,
        architecture,
        f"state_dict: module.{prefix}*",
        partial(_branch, prefix=prefix),
        rename,
        positions=positions,
    )


FAMILIES = (
    _family("sslight_dino_vitt16", "vit_tiny_patch16_224", positions="dino"),
    _family("sslight_dino_r18", "resnet18", _resnet),
    _family("sslight_dino_r34", "resnet34", _resnet),
    _family("sslight_dino_mnv2", "mobilenetv2_100", _mobilenetv2),
    _family("sslight_swav_mnv2", "mobilenetv2_100", _mobilenetv2),
    _family("sslight_moco_mnv2", "mobilenetv2_100", _mobilenetv2),
)
