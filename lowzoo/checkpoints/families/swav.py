"""SwAV: one network, flat or below `state_dict`, with `projection_head` and `prototypes` beside it; timm's names."""

from collections.abc import Mapping
from typing import Any

from lowzoo.checkpoints.families.family import Family, State, tensors, without

_SWAV = {"swav_r50": "resnet50", "swav_r50w2": "lowzoo_resnet50w2", "swav_r50w4": "lowzoo_resnet50w4"}


def _branch(content: Mapping[str, Any]) -> State | None:
    state = tensors(content.get("state_dict", content))
    if state is None or "prototypes.weight" not in state:
        return None
    return without(state, "projection_head.", "prototypes.")


FAMILIES = tuple(
    Family(name, architecture, "module.* with prototypes.weight beside it", _branch, interpolation="bilinear")
    for name, architecture in _SWAV.items()
)
