"""A folder that `timm.create_model("local-dir:FOLDER", pretrained=True)` loads: weights and their configuration."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lowzoo.files import atomic_path, writable_folder, write_text

_LAYERS = ("first_conv", "classifier", "pool_size", "fixed_input_size")


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
