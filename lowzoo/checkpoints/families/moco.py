"""MoCo-v2: the query encoder, whose `fc` is the projection head. Names are timm's.

A key encoder of the same shapes tells such a file from one of SEED, whose second network is a larger teacher.
"""

from collections.abc import Mapping
from typing import Any

from lowzoo.checkpoints.families.family import Family, State, inside, tensors, without


def is_moco(state: State) -> bool:
    """Whether query and key encoder have the same shapes, or there is no key encoder."""
    query, key = inside(state, "encoder_q."), inside(state, "encoder_k.")
    if query is None:
        return False
    return key is None or {n: v.shape for n, v in query.items()} == {n: v.shape for n, v in key.items()}


def _branch(content: Mapping[str, Any]) -> State | None:
    state = tensors(content.get("state_dict"))
    if state is None or not is_moco(state):
        return None
    query = inside(state, "encoder_q.")
    return without(query, "fc.") if query else None


FAMILIES = (Family("moco_v2_r50", "resnet50", "state_dict: module.encoder_q.*", _branch, interpolation="bilinear"),)
