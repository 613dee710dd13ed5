"""A checkpoint as a folder that timm loads."""

from pathlib import Path

from lowzoo import catalog
from lowzoo.convert import Converted, convert_checkpoint
from lowzoo.convert.foreign import Foreign, backbone_names, read_foreign
from lowzoo.model_folder import write_model_folder
from lowzoo.weights_file import sha256

_SIDE = 224
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def convert_to_folder(checkpoint: Path, out: Path, family: str | None = None) -> Converted:
    """Convert a checkpoint and write it.

    Args:
        checkpoint: A published file.
        out: Folder for `model.safetensors` and `config.json`.
        family: What the file is; recognised if None.

    Raises:
        LowzooError: What `convert_checkpoint` refuses, or a folder that cannot be written to.
    """
    converted = convert_checkpoint(checkpoint, family)
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
        "converted_from_sha256": sha256(checkpoint),
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


def convert_foreign(checkpoint: Path, out: Path, architecture: str, branch: str = "") -> Foreign:
    """Convert anybody's checkpoint of a timm architecture and write its backbone.

    Args:
        checkpoint: The file.
        out: Folder for `model.safetensors` and `config.json`.
        architecture: timm's name, or a short name of a student; with a tag, images are prepared as for these weights.
        branch: Which of several copies; chosen if empty.

    Raises:
        LowzooError: What `read_foreign` refuses, or a folder that cannot be written to.
    """
    base, dot, tag = architecture.partition(".")
    base = catalog.students().get(base, base)
    foreign = read_foreign(checkpoint, f"{base}{dot}{tag}", branch)
    keys = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")
    facts = {
        "converted_from": checkpoint.name,
        "converted_from_sha256": sha256(checkpoint),
        "place": foreign.place,
        "left_out": foreign.left_out,
    }
    if foreign.positions != "timm":
        facts["positions"] = foreign.positions
    names = backbone_names(base)
    write_model_folder(
        out,
        {key: value for key, value in foreign.state.items() if key in names},
        base,
        cfg={key: foreign.cfg[key] for key in keys if key in foreign.cfg},
        arguments=foreign.arguments,
        facts=facts,
    )
    return foreign
