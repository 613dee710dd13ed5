"""Published checkpoints in timm's terms: which layouts there are, and how a file becomes weights that timm loads.

Nothing in a file is run, tensors go by name, every parameter of the network is filled and nothing of it is left over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from lowzoo.catalog import near_matches
from lowzoo.convert import dino, moco, msn, seed, sslight, swav
from lowzoo.convert.family import Family, State
from lowzoo.errors import LowzooError
from lowzoo.torch_file import read_torch_file

FAMILIES: dict[str, Family] = {
    family.name: family for room in (sslight, seed, dino, swav, msn, moco) for family in room.FAMILIES
}


# Of every network here, by timm's names. A file without any is refused before timm is imported to build one.
_FIRST_LAYERS = {"cls_token", "conv1.weight", "conv_stem.weight", "stem.conv.weight"}


@dataclass(frozen=True)
class Converted:
    """A network's tensors under timm's names.

    Args:
        family: What the file was.
        state: Everything that the network needs and nothing else, contiguous.
    """

    family: Family
    state: State


def family_named(name: str) -> Family:
    """The family of that name.

    Raises:
        LowzooError: There is none; the near ones are in the message.
    """
    if name not in FAMILIES:
        raise LowzooError(f"unknown family {name}{near_matches(name, FAMILIES)}", f"Take one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


def convert_checkpoint(path: Path, family: str | None = None) -> Converted:
    """Read a published checkpoint and put its network into timm's terms.

    Args:
        path: The file.
        family: What it is; recognised by its names and shapes if None.

    Raises:
        LowzooError: No such family, a damaged file, one that could run code, or one that does not fit.
    """
    if not path.is_file():
        raise LowzooError(f"there is no file {path}", "Name the checkpoint that was downloaded")
    wanted = family_named(family) if family else None
    content = read_torch_file(path)
    return _converted(content, wanted, path) if wanted else _recognised(content, path)


def recognise(content: Mapping[str, Any], architecture: str) -> Converted | None:
    """The network of a published file of this architecture, laid out as only its trainer does it; None for others.

    A file of the backbone alone is laid out like anybody's, so that its publisher's rules cannot be taken for granted.
    """
    for family in FAMILIES.values():
        if family.architecture != architecture or (
            family.name.startswith(("dino_", "ibot_")) and "teacher" not in content
        ):
            continue
        branch = family.branch(content)
        if branch is not None and not _misfit(family.rename(branch), family):
            return _converted(content, family, Path(family.name))
    return None


def _converted(content: Mapping[str, Any], family: Family, path: Path) -> Converted:
    branch = family.branch(content)
    if branch is None:
        raise LowzooError(
            f"{path} is not laid out like {family.name}: expected {family.expects}, found {_outline(content)}",
            "Name the right family, or none to have it recognised",
        )
    state = family.rename(branch)
    if misfit := _misfit(state, family):
        raise LowzooError(
            f"{path} does not hold the network of {family.name}: {misfit}",
            "Name the right family, or none to have it recognised",
        )
    return Converted(family, {key: state[key].contiguous() for key in _skeleton_of(family) if key in state})


def _recognised(content: Mapping[str, Any], path: Path) -> Converted:
    for family in FAMILIES.values():
        branch = family.branch(content)
        if branch is not None and not _misfit(family.rename(branch), family):
            return _converted(content, family, path)
    raise LowzooError(
        f"{path} is none of the published checkpoints that lowzoo knows: found {_outline(content)}",
        "Name its architecture by --arch, e.g. --arch resnet18",
    )


def _misfit(state: State, family: Family) -> str:
    """What stands in the way of the network being filled completely; empty if nothing does."""
    if not _FIRST_LAYERS & state.keys():
        return "its first layer is missing"
    expected = _skeleton_of(family)
    # Counters of batches matter to no result; some older files lack them.
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    left_over = [key for key in state if key not in expected]
    if missing or left_over:
        parts = ((missing, "missing"), (left_over, "left over"))
        return "; ".join(f"{len(keys)} tensors are {kind}, first {keys[0]}" for keys, kind in parts if keys)
    for key, value in state.items():
        if value.shape != expected[key]:
            return f"{key} is {_shape(value.shape)} there, {_shape(expected[key])} expected"
    return ""


def _skeleton_of(family: Family) -> dict[str, torch.Size]:
    return _skeleton(family.architecture, tuple(family.arguments.items()))


@cache
def _skeleton(architecture: str, arguments: tuple[tuple[str, Any], ...]) -> dict[str, torch.Size]:
    """Names and shapes in the state dict of a headless network, which is not allocated."""
    import timm  # takes as long as all the rest, which may refuse the file first

    with torch.device("meta"):
        model = timm.create_model(architecture, num_classes=0, **dict(arguments))
    return {key: value.shape for key, value in model.state_dict().items()}


def _outline(content: Mapping[str, Any]) -> str:
    """The entries of a file in a few words."""
    words = []
    for key, value in list(content.items())[:6]:
        words.append(f"{key}: {next(iter(value))}, ..." if isinstance(value, dict) and value else str(key))
    return "; ".join(words) + ("; ..." if len(content) > 6 else "")


def _shape(shape: torch.Size) -> str:
    return " x ".join(map(str, shape)) or "a number"
