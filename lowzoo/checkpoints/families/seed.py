"""SEED: the student, which the released files call `module.encoder_q.` and today's code `module.student.`.

The teacher is in the same file (`module.encoder_k.` or `module.teacher.`) and is left out, as is `fc`, the projection
head. The files of runs with small patches hold a second queue. Facts: jacobswan1/SEED f236cac and its issue 3.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from lowzoo.checkpoints.families.family import Family, State, inside, stage_and_block, tensors, without
from lowzoo.checkpoints.families.moco import is_moco

_EXPECTS = "state_dict: module.encoder_q.* or module.student.*"
_MOBILENETV3_STAGES = (1, 2, 3, 4, 2, 3)
_B0_STAGES = (1, 2, 2, 3, 3, 4, 1)
_B1_STAGES = (2, 3, 3, 4, 4, 5, 2)
# Layers of an expanded block of MobileNetV3 by their number in the Sequential, and those of the first block.
_EXPANDED = {"0": "conv_pw", "1": "bn1", "3": "conv_dw", "4": "bn2", "7": "conv_pwl", "8": "bn3"}
_FIRST = {"0": "conv_dw", "1": "bn1", "4": "conv_pw", "5": "bn2"}
# The same of EfficientNet, by their names.
_EXPANDED_B = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
}
_FIRST_B = _EXPANDED_B | {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_ENDS_B = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}


def _branch(content: Mapping[str, Any], *, small_patch: bool | None = None) -> State | None:
    state = tensors(content.get("state_dict"))
    if state is None:
        return None
    if small_patch is not None and small_patch != any(key.startswith("small_queue") for key in state):
        return None
    student = inside(state, "student.") or (None if is_moco(state) else inside(state, "encoder_q."))
    return without(student, "fc.") if student else None


def _mobilenetv3(state: State) -> State:
    """`features.0`, `features.1` to `15`, `conv`, `classifier.0`; linear layers become 1 x 1 convolutions."""
    renamed = {}
    for key, value in state.items():
        name = _mobilenetv3_name(key)
        linear = value.ndim == 2 and name.endswith(".weight") and (".se." in name or name.startswith("conv_head."))
        renamed[name] = value[:, :, None, None] if linear else value
    return renamed


def _mobilenetv3_name(key: str) -> str:
    for pattern, name in (
        (r"features\.0\.0\.", "conv_stem."),
        (r"features\.0\.1\.", "bn1."),
        (r"conv\.0\.", "blocks.6.0.conv."),
        (r"conv\.1\.", "blocks.6.0.bn1."),
        (r"classifier\.0\.", "conv_head."),
    ):
        if re.match(pattern, key):
            return re.sub(f"^{pattern}", name, key)
    if not (found := re.match(r"features\.(\d+)\.conv\.(\d+)\.(.*)", key)):
        return key
    index, layer, rest = int(found[1]), found[2], found[3]
    block = stage_and_block(index - 1, _MOBILENETV3_STAGES)
    if layer == "5" and index > 1:
        return f"{block}.se.{rest.replace('fc.0.', 'conv_reduce.').replace('fc.2.', 'conv_expand.')}"
    layers = _FIRST if index == 1 else _EXPANDED
    return f"{block}.{layers[layer]}.{rest}" if layer in layers else key


def _efficientnet(stages: tuple[int, ...]) -> Callable[[State], State]:
    def rename(state: State) -> State:
        return {_efficientnet_name(key, stages): value for key, value in state.items()}

    return rename


def _efficientnet_name(key: str, stages: tuple[int, ...]) -> str:
    if not (found := re.match(r"_blocks\.(\d+)\.(\w+)\.(.*)", key)):
        first, _, rest = key.partition(".")
        return f"{_ENDS_B[first]}.{rest}" if first in _ENDS_B else key
    index, layer, rest = int(found[1]), found[2], found[3]
    layers = _FIRST_B if index < stages[0] else _EXPANDED_B
    return f"{stage_and_block(index, stages)}.{layers[layer]}.{rest}" if layer in layers else key


FAMILIES = (
    Family("seed_r18", "resnet18", _EXPECTS, partial(_branch, small_patch=False), interpolation="bilinear"),
    Family("seed_r18_small_patch", "resnet18", _EXPECTS, partial(_branch, small_patch=True), interpolation="bilinear"),
    Family("seed_mobilenetv3_large", "seed_mobilenetv3_large", _EXPECTS, _branch, _mobilenetv3, {}, "bilinear"),
    Family("seed_efficientnet_b0", "tf_efficientnet_b0", _EXPECTS, _branch, _efficientnet(_B0_STAGES), {}, "bilinear"),
    Family(
        "seed_efficientnet_b1", "seed_efficientnet_b1", _EXPECTS, _branch, _efficientnet(_B1_STAGES), {}, "bilinear"
    ),
    Family("seed_r50", "resnet50", _EXPECTS, _branch, interpolation="bilinear"),
)
