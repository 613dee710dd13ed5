"""MSN: the target encoder, whose `fc` is the projection head; the prototypes lie beside it. Names are timm's."""

from collections.abc import Mapping
from typing import Any

from lowzoo.checkpoints.families.family import Family, Parts, State, split_by, tensors, under, without
from lowzoo.checkpoints.files.content import is_tensor

_MSN: dict[str, tuple[str, dict[str, int]]] = {
    "msn_vits16": ("vit_small_patch16_224", {}),
    "msn_vitb16": ("vit_base_patch16_224", {}),
    "msn_vitl16": ("vit_large_patch16_224", {}),
    "msn_vitb4": ("vit_base_patch16_224", {"patch_size": 4}),
    "msn_vitl7": ("vit_large_patch16_224", {"patch_size": 7}),
}


def _parts(content: Mapping[str, Any]) -> Parts | None:
    state = tensors(content.get("target_encoder"))
    if state is None:
        return None
    head, prototypes = under(state, "fc.", "fc."), content.get("prototypes")
    if head and is_tensor(prototypes):
        head["prototypes"] = prototypes
    return Parts(without(state, "fc."), head)


split = split_by(_parts, "target_encoder")


def _branch(content: Mapping[str, Any]) -> State | None:
    parts = _parts(content)
    return parts.backbone if parts else None


FAMILIES = tuple(
    Family(name, architecture, "target_encoder: module.*", _branch, arguments=arguments, positions="msn")
    for name, (architecture, arguments) in _MSN.items()
)
