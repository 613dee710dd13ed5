"""DINO and iBOT: the teacher branch, whose features the authors report, and its head.

A full file is `{"teacher": {backbone.*, head.*}, "student": ..., "dino_loss" or "ibot_loss": ...}`; a file of the
backbone alone is flat (DINO) or lies below `state_dict` (iBOT). Names are timm's.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.checkpoints.families.family import Family, Parts, State, split_by, tensors, under, without

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


def _parts(content: Mapping[str, Any]) -> Parts | None:
    if "teacher" not in content:  # a file of the backbone alone
        state = tensors(content.get("state_dict", content))
        return None if state is None else Parts(state, {})
    state = tensors(content["teacher"])
    return None if state is None else Parts(under(state, "backbone."), under(state, "head."))


def split(content: Mapping[str, Any], path: Path) -> Parts:
    """Backbone and head of the teacher branch.

    Args:
        content: Content of the file.
        path: For messages.

    Raises:
        LowzooError: It is laid out in another way.
    """
    parts = split_by(_parts, "teacher")(content, path)
    known = ("backbone.", "head.")
    if "teacher" in content and (other := without(tensors(content["teacher"]) or {}, *known)):
        raise LowzooError(
            f"{path} holds {next(iter(other))}, which is under none of {', '.join(known)}", "Name the right file"
        )
    return parts


def _branch(content: Mapping[str, Any], loss: str, alone: bool) -> State | None:
    """The network of a file that is told by the loss beside it; `alone` takes a flat one of the backbone, too."""
    is_full = "teacher" in content
    if is_full != (loss in content) or not (is_full or (alone and "state_dict" not in content)):
        return None
    parts = _parts(content)
    return parts.backbone or None if parts else None


def _ibot_branch(content: Mapping[str, Any]) -> State | None:
    if set(content) == {"state_dict"}:
        return tensors(content["state_dict"])
    return _branch(content, "ibot_loss", alone=False)


FAMILIES = (
    *(
        Family(
            name,
            architecture,
            "teacher: backbone.*, beside dino_loss; or the backbone alone",
            partial(_branch, loss="dino_loss", alone=True),
            positions="timm" if architecture == "resnet50" else "dino",
            own_entry="teacher",
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
            own_entry="teacher",
        )
        for name, architecture in _IBOT.items()
    ),
)
