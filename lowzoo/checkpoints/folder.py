"""A checkpoint as a folder that timm loads.

A folder that `timm.create_model("local-dir:FOLDER", pretrained=True)` loads: weights and their configuration.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.checkpoints.families.published import Converted, convert_checkpoint
from lowzoo.checkpoints.foreign import Foreign, backbone_names, read_foreign
from lowzoo.io.files import atomic_path, writable_folder, write_text
from lowzoo.io.safetensors_file import sha256

_SIDE = 224
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LAYERS = ("first_conv", "classifier", "pool_size", "fixed_input_size")


def convert_to_folder(checkpoint: Path, out: Path, family: str | None = None, *, force: bool = False) -> Converted:
    """Convert a checkpoint and write it.

    Args:
        checkpoint: A published file.
        out: Folder for `model.safetensors` and `config.json`.
        family: What the file is; recognised if None.
        force: Replace a model in the folder that was not made from this checkpoint in this way.

    Raises:
        LowzooError: What `convert_checkpoint` refuses, or a folder that holds another model or cannot be written to.
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
    if not force:
        _refuse_to_replace(out, converted.family.architecture, cfg, facts)
    write_model_folder(
        out,
        converted.state,
        converted.family.architecture,
        cfg=cfg,
        arguments=converted.family.arguments,
        facts=facts,
    )
    return converted


def convert_foreign(
    checkpoint: Path, out: Path, architecture: str, branch: str = "", *, force: bool = False
) -> Foreign:
    """Convert anybody's checkpoint of a timm architecture and write its backbone.

    Args:
        checkpoint: The file.
        out: Folder for `model.safetensors` and `config.json`.
        architecture: timm's name, or a short name of a student; with a tag, images are prepared as for these weights.
        branch: Which of several copies; chosen if empty.
        force: Replace a model in the folder that was not made from this checkpoint in this way.

    Raises:
        LowzooError: What `read_foreign` refuses, or a folder that holds another model or cannot be written to.
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
    cfg = {key: foreign.cfg[key] for key in keys if key in foreign.cfg}
    if not force:
        _refuse_to_replace(out, base, cfg, facts)
    names = backbone_names(base)
    write_model_folder(
        out,
        {key: value for key, value in foreign.state.items() if key in names},
        base,
        cfg=cfg,
        arguments=foreign.arguments,
        facts=facts,
    )
    return foreign


def _refuse_to_replace(out: Path, architecture: str, cfg: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Refuse a folder of another model: of another checkpoint, another copy in it, or prepared for in another way."""
    if not (out / "model.safetensors").exists():
        return
    own = {key: value for key, value in facts.items() if key != "converted_from"}  # a file may be renamed
    wanted = json.loads(json.dumps({"pretrained_cfg": dict(cfg), "lowzoo": own}))
    try:
        said = json.loads((out / "config.json").read_text(encoding="utf-8"))
        same = said["architecture"] == architecture
        same = same and all(said[part].items() >= values.items() for part, values in wanted.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        same = False
    if not same:
        raise LowzooError(
            f"{out} holds a model that was not made from this checkpoint in this way",
            "Name another folder with --out, or replace it with --force",
        )


def write_model_folder(
    folder: Path,
    state: Mapping[str, Tensor],
    architecture: str,
    *,
    cfg: Mapping[str, Any],
    arguments: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> None:
    """Write weights and configuration of a headless model.

    Args:
        folder: Made if it is missing; older files of the same names are replaced.
        state: The network's tensors under timm's names.
        architecture: What `timm.create_model` takes.
        cfg: Size of images, normalisation, interpolation and crop, as timm names them.
        arguments: Further arguments for `timm.create_model`.
        facts: What the weights are, for people and for `lowzoo publish`.

    Raises:
        LowzooError: The folder cannot be written to.
    """
    from safetensors.torch import save_file
    from timm.models import get_pretrained_cfg

    writable_folder(folder)
    with atomic_path(folder / "model.safetensors") as temporary:
        save_file(dict(state), temporary, metadata={"format": "pt"})
    known = get_pretrained_cfg(architecture)
    layers = {key: getattr(known, key) for key in _LAYERS} if known else {}
    content = {
        "architecture": architecture,
        "num_classes": 0,
        "pretrained_cfg": {"tag": "lowzoo", "custom_load": False, "num_classes": 0, **layers, **cfg},
        **({"model_args": dict(arguments)} if arguments else {}),
        "lowzoo": dict(facts),
    }
    write_text(folder / "config.json", json.dumps(content, indent=2) + "\n")
