"""MoCo-v2: the query encoder, whose `fc` is the projection head. Names are timm's.

A key encoder of the same shapes tells such a file from one of SEED, whose second network is a larger teacher.
"""

from collections.abc import Mapping
from typing import Any

from lowzoo.checkpoints.families.family import Family, Parts, State, inside, split_by, tensors, with_fc


def is_moco(state: State) -> bool:
    """Whether query and key encoder have the same shapes, or there is no key encoder."""
    query, key = inside(state, "encoder_q."), inside(state, "encoder_k.")
    if query is None:
        return False
    return key is None or {n: v.shape for n, v in query.items()} == {n: v.shape for n, v in key.items()}


def _parts(content: Mapping[str, Any]) -> Parts | None:
    query = inside(tensors(content.get("state_dict")), "encoder_q.")
    return with_fc(query) if query else None


split = split_by(_parts, "state_dict: encoder_q")


def _branch(content: Mapping[str, Any]) -> State | None:
    state = tensors(content.get("state_dict"))
    parts = _parts(content) if state is not None and is_moco(state) else None
    return parts.backbone if parts else None


FAMILIES = (Family("moco_v2_r50", "resnet50", "state_dict: module.encoder_q.*", _branch, interpolation="bilinear"),)
