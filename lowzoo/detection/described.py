"""What the folder of a detector says of it, from its files alone: no network is built and no weight is read."""

import json
from math import prod
from pathlib import Path
from typing import Any

from safetensors import safe_open

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.detection import FACTS, WEIGHTS
from lowzoo.io.safetensors_file import check_safetensors

EVALUATION = "evaluation.json"


def describe(folder: Path) -> dict[str, Any]:
    """Facts of a trained detector as plain data.

    Args:
        folder: Where `detector.json` is.

    Raises:
        LowzooError: A file is damaged.
    """
    try:
        facts = json.loads((folder / FACTS).read_bytes())
        backbone, shape = facts["backbone"], facts["shape"]
        found = {
            "id": folder.resolve().name,
            "detector": f"{'Mask' if facts['masks'] else 'Faster'} R-CNN",
            "backbone": backbone["name"],
            "architecture": backbone["architecture"],
            "revision": backbone["revision"],
            "maps": f"{shape['kind']} of strides {', '.join(map(str, shape['strides']))}",
            "classes": ", ".join(facts["classes"]),
            "input": f"shorter side {facts['shorter']} px, the other at most {facts['longest']}",
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LowzooError(
            f"{folder / FACTS} cannot be read as the description of a detector ({reason_of(error)})", "Train it again"
        ) from error
    return found | _weights(folder / WEIGHTS) | _figures(folder / EVALUATION)


def _weights(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {"weights": "none yet: its training has not come to an end"}
    check_safetensors(file)
    with safe_open(file, framework="numpy") as tensors:
        shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118 - it is no mapping
    numbers = sum(map(prod, shapes))
    return {"weights": f"{len(shapes)} tensors, {numbers / 1e6:.2f} M numbers, {file.stat().st_size / 1e6:.1f} MB"}


def _figures(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        document = json.loads(file.read_bytes())
        settings, data = document["settings"], document["data"]
        shown = {each["metric"]: f"{each['mean']:.1f}" for each in document["figures"] if "AP" in each["metric"]}
        wanted = [f"{name} {shown[name]}" for name in ("box AP", "box AP50", "mask AP", "mask AP50") if name in shown]
        return {
            "preset": document["preset"],
            "trained": f"{settings['steps']} steps of {settings['batch_size']} on {data['train']['name']} "
            f"({data['train']['images']} images)",
            "measured": f"{', '.join(wanted)} on {data['test']['name']} ({data['test']['images']} images)",
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LowzooError(
            f"{file} is not what an evaluation writes ({reason_of(error)})", "Remove it, or evaluate again"
        ) from error
