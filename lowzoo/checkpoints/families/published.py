"""Published checkpoints in timm's terms: which layouts there are, and how a file becomes weights that timm loads.

Another package declares a layout by an entry point of the group `lowzoo.checkpoints` that gives a `Family`.

Nothing in a file is run, tensors go by name, every parameter of the network is filled and nothing of it is left over.
Nothing here needs torch to be judged: what does not fit is refused by names and shapes, before torch is imported.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.base.registry import Registry
from lowzoo.catalog.shapes import known_skeleton
from lowzoo.checkpoints.families import dino, moco, msn, seed, sslight, swav
from lowzoo.checkpoints.families.family import Family, State
from lowzoo.checkpoints.files.content import beside, in_words, shape_text
from lowzoo.checkpoints.files.outline import read_outline

Shapes = Mapping[str, tuple[int, ...]]

FAMILIES: Registry[Family] = Registry(
    Family,
    "family",
    "lowzoo.checkpoints",
    {family.name: family for room in (sslight, seed, dino, swav, msn, moco) for family in room.FAMILIES},
)


# Of every network here, by timm's names. A file without any is refused before timm is imported to build one.
_FIRST_LAYERS = {"cls_token", "conv1.weight", "conv_stem.weight", "stem.conv.weight"}


@dataclass(frozen=True)
class Converted:
    """A network's tensors under timm's names.

    Args:
        family: What the file was.
        state: Everything that the network needs and nothing else, contiguous.
        left_out: What else the file holds, in words.
    """

    family: Family
    state: State
    left_out: str


class UndecidedError(Exception):
    """Whether a file fits cannot be told without timm."""


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
    wanted = FAMILIES[family] if family else None
    from lowzoo.checkpoints.files.torch_file import read_torch_file

    content = read_torch_file(path)
    return _converted(content, wanted or family_in(content, path), path)


def refuse_published(path: Path, family: str | None = None) -> None:
    """Refuse early what `convert_checkpoint` would refuse, as far as names and shapes tell, without torch and timm.

    Raises:
        LowzooError: No such family, or none that fits.
    """
    wanted = FAMILIES[family] if family else None
    content = read_outline(path)
    if content is None:
        return
    try:
        _checked(content, wanted or family_in(content, path, _known_skeleton_of), path, _known_skeleton_of)
    except UndecidedError:
        return


def family_in(content: Mapping[str, Any], path: Path, skeleton: Callable[[Family], Shapes] | None = None) -> Family:
    """The family that a file is of, by its names and shapes.

    Args:
        content: Content of the file.
        path: For messages.
        skeleton: Gives the names and shapes of a family's network; timm itself is asked if None.

    Raises:
        LowzooError: It is of none.
    """
    for family in FAMILIES.specs():
        if _is(content, family, skeleton or _skeleton_of):
            return family
    raise LowzooError(
        f"{path} is none of the published checkpoints that lowzoo knows: found {_outline(content)}",
        "Name its architecture by --arch, e.g. --arch resnet18",
    )


def recognise(content: Mapping[str, Any], architecture: str) -> Converted | None:
    """The network of a published file of this architecture, laid out as only its trainer does it; None for others.

    A file of the backbone alone is laid out like anybody's, so that its publisher's rules cannot be taken for granted.
    """
    for family in _families_of(content, architecture):
        if _is(content, family, _skeleton_of):
            return _converted(content, family, Path(family.name))
    return None


def could_be_published(content: Mapping[str, Any], architecture: str) -> bool:
    """Whether `recognise` knows the file, or may know it; needs neither torch nor timm."""
    try:
        return any(_is(content, family, _known_skeleton_of) for family in _families_of(content, architecture))
    except UndecidedError:
        return True


def _families_of(content: Mapping[str, Any], architecture: str) -> list[Family]:
    return [
        family
        for family in FAMILIES.specs()
        if family.architecture == architecture and (not family.own_entry or family.own_entry in content)
    ]


def _is(content: Mapping[str, Any], family: Family, skeleton: Callable[[Family], Shapes]) -> bool:
    branch = family.branch(content)
    return branch is not None and not _misfit(family.rename(branch), family, skeleton)


def _checked(
    content: Mapping[str, Any], family: Family, path: Path, skeleton: Callable[[Family], Shapes]
) -> tuple[State, State]:
    """The family's network in the file, under its publisher's names and under timm's."""
    branch = family.branch(content)
    if branch is None:
        raise LowzooError(
            f"{path} is not laid out like {family.name}: expected {family.expects}, found {_outline(content)}",
            "Name the right family, or none to have it recognised",
        )
    state = family.rename(branch)
    if misfit := _misfit(state, family, skeleton):
        raise LowzooError(
            f"{path} does not hold the network of {family.name}: {misfit}",
            "Name the right family, or none to have it recognised",
        )
    return branch, state


def _converted(content: Mapping[str, Any], family: Family, path: Path) -> Converted:
    branch, state = _checked(content, family, path, _skeleton_of)
    kept = {key: state[key].detach().contiguous() for key in _skeleton_of(family) if key in state}
    return Converted(family, kept, in_words(beside(content, branch)))


def _misfit(state: State, family: Family, skeleton: Callable[[Family], Shapes]) -> str:
    """What stands in the way of the network being filled completely; empty if nothing does."""
    if not _FIRST_LAYERS & state.keys():
        return "its first layer is missing"
    expected = skeleton(family)
    # Counters of batches matter to no result; some older files lack them.
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    left_over = [key for key in state if key not in expected]
    if missing or left_over:
        parts = ((missing, "missing"), (left_over, "left over"))
        return "; ".join(f"{len(keys)} tensors are {kind}, first {keys[0]}" for keys, kind in parts if keys)
    for key, value in state.items():
        if value.shape != expected[key]:
            return f"{key} is {shape_text(value.shape)} there, {shape_text(expected[key])} expected"
    return ""


def _known_skeleton_of(family: Family) -> Shapes:
    found = None if family.arguments else known_skeleton(family.architecture)
    if found is None:
        raise UndecidedError(family.name)
    return found.shapes


def _skeleton_of(family: Family) -> Shapes:
    return _skeleton(family.architecture, tuple(family.arguments.items()))


@cache
def _skeleton(architecture: str, arguments: tuple[tuple[str, Any], ...]) -> Shapes:
    """Names and shapes in the state dict of a headless network, which is not allocated."""
    import timm  # takes as long as all the rest, which may refuse the file first
    import torch

    with torch.device("meta"):
        model = timm.create_model(architecture, num_classes=0, **dict(arguments))
    return {key: value.shape for key, value in model.state_dict().items()}


def _outline(content: Mapping[str, Any]) -> str:
    """The entries of a file in a few words."""
    words = []
    for key, value in list(content.items())[:6]:
        words.append(f"{key}: {next(iter(value))}, ..." if isinstance(value, dict) and value else str(key))
    return "; ".join(words) + ("; ..." if len(content) > 6 else "")
