"""DINO and iBOT: the teacher branch, whose features the authors report.

A full file is `{"teacher": {backbone.*, head.*}, "student": ..., "dino_loss" or "ibot_loss": ...}`; a file of the
backbone alone is flat (DINO) or lies below `state_dict` (iBOT). Names are timm's.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from lowzoo.checkpoints.families.family import Family, State, inside, tensors

_DINO = {
    "dino_vits16": "vit_small_patch16_224",
    "dino_vits8": "vit_small_patch8_224",
    "dino_vitb16": "vit_base_patch16_224",
    "dino_vitb8": "vit_base_patch8_224",
    "dino_r50": "resnet50",
}
_IBOT = {
    "ibot_vits16": "vit_small_patch16_224",
    "ibot_vitb16": "vit_base_patch16_224",
    "ibot_vitl16": "vit_large_patch16_224",
}


def _branch(content: Mapping[str, Any], loss: str, backbone_alone: bool) -> State | None:
    if "teacher" in content:
        return inside(tensors(content["teacher"]), "backbone.") if loss in content else None
    if loss in content or "state_dict" in content or not backbone_alone:
        return None
    return tensors(content)


def _ibot_branch(content: Mapping[str, Any]) -> State | None:
    if set(content) == {"state_dict"}:
        return tensors(content["state_dict"])
    return _branch(content, "ibot_loss", backbone_alone=False)


FAMILIES = (
    *(
        Family(
            name,
            architecture,
            "teacher: backbone.*, beside dino_loss; or the backbone alone",
            partial(_branch, loss="dino_loss", backbone_alone=True),
            positions="timm" if architecture == "resnet50" else "dino",
        )
        for name, architecture in _DINO.items()
    ),
    *(
        Family(
            name,
            architecture,
            "teacher: backbone.*, beside ibot_loss; or state_dict alone, with the backbone",
            _ibot_branch,
            positions="dino",
        )
        for name, architecture in _IBOT.items()
    ),
)
