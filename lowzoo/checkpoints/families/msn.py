"""MSN: the target encoder, whose `fc` is the projection head; the prototypes lie beside it. Names are timm's."""

from collections.abc import Mapping
from typing import Any

from lowzoo.checkpoints.families.family import Family, State, tensors, without

_MSN: dict[str, tuple[str, dict[str, int]]] = {
    "msn_vits16": ("vit_small_patch16_224", {}),
    "msn_vitb16": ("vit_base_patch16_224", {}),
    "msn_vitl16": ("vit_large_patch16_224", {}),
    "msn_vitb4": ("vit_base_patch16_224", {"patch_size": 4}),
    "msn_vitl7": ("vit_large_patch16_224", {"patch_size": 7}),
}


def _branch(content: Mapping[str, Any]) -> State | None:
    state = tensors(content.get("target_encoder"))
    return without(state, "fc.") if state else None


FAMILIES = tuple(
    Family(name, architecture, "target_encoder: module.*", _branch, arguments=arguments, positions="msn")
    for name, (architecture, arguments) in _MSN.items()
)
