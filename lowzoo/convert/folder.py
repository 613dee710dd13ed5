"""A published checkpoint as a folder that timm loads."""

import json
from pathlib import Path

from lowzoo.convert import Converted, convert_checkpoint
from lowzoo.errors import LowzooError
from lowzoo.model_folder import write_model_folder
from lowzoo.weights_file import sha256

_SIDE = 224
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def convert_to_folder(checkpoint: Path, out: Path, family: str | None = None, *, force: bool = False) -> Converted:
    """Convert a checkpoint and write it.

    Args:
        checkpoint: A published file.
        out: Folder for `model.safetensors` and `config.json`.
        family: What the file is; recognised if None.
        force: Replace a model in the folder that was not made from this checkpoint.

    Raises:
        LowzooError: What `convert_checkpoint` refuses, or a folder that holds another model or cannot be written to.
    """
    converted = convert_checkpoint(checkpoint, family)
    digest = sha256(checkpoint)
    if not force:
        _refuse_to_replace(out, digest)
    cfg = {
        "input_size": (3, _SIDE, _SIDE),
        "mean": _MEAN,
        "std": _STD,
        "interpolation": converted.family.interpolation,
        "crop_pct": 0.875,
    }
    facts = {
        "family": converted.family.name,
        "converted_from": checkpoint.name,
        "converted_from_sha256": digest,
    }
    if converted.family.positions != "timm":
        facts["positions"] = converted.family.positions
    write_model_folder(
        out,
        converted.state,
        converted.family.architecture,
        cfg=cfg,
        arguments=converted.family.arguments,
        facts=facts,
    )
    return converted


def _refuse_to_replace(out: Path, digest: str) -> None:
    if not (out / "model.safetensors").exists():
        return
    try:
        facts = json.loads((out / "config.json").read_text(encoding="utf-8"))["lowzoo"]
        same = facts["converted_from_sha256"] == digest
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise LowzooError(
            f"{out} holds a model that was not made from this checkpoint",
            "Name another folder with --out, or replace it with --force",
        )
