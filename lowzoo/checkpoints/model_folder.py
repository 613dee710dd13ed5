"""A model folder, judged by names and shapes: does the file hold the network that `config.json` names?

Needs neither torch nor timm, and asks nothing of folders whose configuration changes the network in ways that only
timm knows: whoever builds it notices there what is wrong.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.catalog.shapes import Skeleton, known_skeleton
from lowzoo.checkpoints.files.content import is_tensor
from lowzoo.checkpoints.files.fit import Fit, difference, fit_at, nearest
from lowzoo.checkpoints.files.outline import read_outline
from lowzoo.io.safetensors_file import check_safetensors

CONFIG = "config.json"
# What timm writes, and what its `save_for_hf` writes unless it is asked for safetensors.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")

# Where timm's classifiers lie, some of several layers beside a norm that is the network's own.
_HEADS = ("head", "classifier", "fc")


def weights_in(folder: Path) -> Path | None:
    """The file of weights in a model folder; None in a folder of another kind."""
    if not (folder / CONFIG).is_file():
        return None
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)


def refuse_other_network(folder: Path) -> None:
    """Refuse a model folder whose file holds another network than its configuration names.

    Raises:
        LowzooError: It does, or the file is damaged; nothing is said where only timm can tell.
    """
    file = weights_in(folder)
    if file is None:
        return
    if file.suffix == ".safetensors":
        check_safetensors(file)
    named = _architecture(folder / CONFIG)
    expected = known_skeleton(named) if named else None
    if expected is None or (content := read_outline(file)) is None:
        return
    if not content or not all(is_tensor(value) for value in content.values()):
        return
    fit = _judged(fit_at("", content, expected), expected)
    if fit.complete:
        return
    near = nearest(content, named, known_skeleton)
    raise LowzooError(
        f"{file} does not hold a {named}, which {CONFIG} names: {difference(fit, expected)}",
        f"Write the folder again{f'; its weights are those of a {near}' if near else ''}",
    )


def _architecture(config: Path) -> str:
    """The architecture that a configuration names; empty where it asks for more than that, or cannot be read."""
    try:
        said = json.loads(config.read_bytes())
        cfg = said.get("pretrained_cfg") or {}
        # Other channels, another pooling and arguments of the network change its tensors.
        if said.get("model_args") or cfg.get("global_pool") or cfg.get("input_size", [3])[0] != 3:
            return ""
        base = str(said["architecture"]).removeprefix(catalog.PREFIX).partition(".")[0]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return ""
    return base


def _judged(fit: Fit, expected: Skeleton) -> Fit:
    """What of a misfit is one: timm resamples tables of positions, and what lies beside the network is left out."""
    tops = {name.partition(".")[0] for name in expected.shapes}
    rooms = {name.split(".")[:2][-1] for name in expected.shapes if name.startswith(tuple(f"{top}." for top in _HEADS))}
    fit.wrong = [name for name in fit.wrong if not _is_resampled(name, fit.own, expected)]
    fit.inside = [name for name in fit.inside if name.partition(".")[0] in tops and not _of_classifier(name, rooms)]
    return fit


def _of_classifier(name: str, rooms: Collection[str]) -> bool:
    """Whether a tensor is one of several layers of a classifier, such as `head.fc.fc1` beside a `head.norm`."""
    top, _, rest = name.partition(".")
    return top in _HEADS and "." in rest and rest.partition(".")[0] not in rooms


def _is_resampled(name: str, own: Mapping[str, Any], expected: Skeleton) -> bool:
    return "pos" in name or (expected.fixed and own[name].ndim == len(expected.shapes[name]))
