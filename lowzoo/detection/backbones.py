"""From a MODEL to the backbone of a detector, and back from what a folder says of it."""

import copy
from pathlib import Path
from typing import Any

import timm
from torch import nn

from lowzoo import catalog
from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.catalog.position_rules import Rule
from lowzoo.detection.network.detector import Backbone
from lowzoo.zoo.find import architecture_of, find
from lowzoo.zoo.given import word_of
from lowzoo.zoo.resolve import Resolved


def backbone_of(model: "str | Path | nn.Module | Resolved", resolved: Resolved) -> Backbone:
    """Make a copy of a network the backbone of a detector.

    Args:
        model: What was named: a MODEL word, a path, what `lowzoo.load` gave, or a network of timm.
        resolved: What `lowzoo.zoo.given.resolved_model` made of it.

    Raises:
        LowzooError: It has a classifier, takes other pictures than RGB, or is no network of timm.
    """
    if not resolved.headless:
        raise LowzooError(f"{resolved.name} has a classifier, and a detector takes none", "Load it without")
    if resolved.input_size[0] != 3:
        raise LowzooError(f"{resolved.name} takes {resolved.input_size[0]} channels, and a detector 3", "Name another")
    network: Any = copy.deepcopy(resolved.model)
    positions: Rule = "timm"
    arguments: dict[str, Any] = {}
    if isinstance(model, (str, Path)):
        word = word_of(model)
        architecture = architecture_of(word)
        found = find(word, pretrained=resolved.trained)
        arguments, positions = dict(found.arguments), found.positions
        entry = catalog.models().get(architecture)
        if entry is not None and entry.builder == "official_positions":
            positions = "dino"
    else:
        architecture = (getattr(network, "pretrained_cfg", None) or {}).get("architecture", "")
        if not timm.is_model(architecture):
            raise LowzooError(f"{resolved.name} is no network of timm", "Give one that timm.create_model has made")
    for unwanted in ("num_classes", "pretrained_cfg"):
        arguments.pop(unwanted, None)
    patches = getattr(network, "patch_embed", None)
    if (size := getattr(patches, "img_size", None)) is not None and getattr(network, "pos_embed", None) is not None:
        # The table of positions keeps the size that it has, and is resampled in every run.
        arguments["img_size"] = [int(side) for side in size]
    return Backbone(
        network,
        resolved.name,
        resolved.revision,
        architecture,
        arguments,
        positions,
        resolved.mean,
        resolved.std,
    )


def rebuilt(facts: dict[str, Any]) -> Backbone:
    """An untrained network of the architecture that a folder names.

    Args:
        facts: What `facts_of` gave.

    Raises:
        LowzooError: timm does not know it.
    """
    arguments = {key: tuple(v) if isinstance(v, list) else v for key, v in facts["arguments"].items()}
    try:
        network = timm.create_model(facts["architecture"], pretrained=False, num_classes=0, **arguments)
    except Exception as error:  # timm raises whatever its networks do
        raise LowzooError(
            f"the backbone {facts['architecture']} cannot be built ({reason_of(error)})", "Update timm or lowzoo"
        ) from error
    return Backbone(
        network,
        facts["name"],
        facts["revision"],
        facts["architecture"],
        facts["arguments"],
        facts["positions"],
        tuple(facts["mean"]),
        tuple(facts["std"]),
    )


def facts_of(backbone: Backbone) -> dict[str, Any]:
    """What a folder has to say of a backbone."""
    return {
        "name": backbone.name,
        "revision": backbone.revision,
        "architecture": backbone.architecture,
        "arguments": backbone.arguments,
        "positions": backbone.positions,
        "mean": list(backbone.mean),
        "std": list(backbone.std),
    }
