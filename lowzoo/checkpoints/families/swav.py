"""SwAV: one network, flat or below `state_dict`, with `projection_head` and `prototypes` beside it; timm's names."""

from collections.abc import Mapping
from typing import Any

from lowzoo.checkpoints.families.family import Family, Parts, State, split_by, tensors, without

_SWAV = {"swav_r50": "resnet50", "swav_r50w2": "lowzoo_resnet50w2", "swav_r50w4": "lowzoo_resnet50w4"}


_HEAD = ("projection_head.", "prototypes.")


def _parts(content: Mapping[str, Any]) -> Parts | None:
    state = tensors(content.get("state_dict", content))
    if state is None:
        return None
    return Parts(without(state, *_HEAD), {key: value for key, value in state.items() if key.startswith(_HEAD)})


split = split_by(_parts, "state_dict")


def _branch(content: Mapping[str, Any]) -> State | None:
    parts = _parts(content)
    return parts.backbone if parts and "prototypes.weight" in parts.head else None


FAMILIES = tuple(
    Family(name, architecture, "module.* with prototypes.weight beside it", _branch, interpolation="bilinear")
    for name, architecture in _SWAV.items()
)
