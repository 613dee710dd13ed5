"""Where a network lies in somebody's checkpoint, judged by names and shapes alone.

Trainers wrap a network in their own names (`module.`, `_orig_mod.`, `model.`, `backbone.`, `encoder_q.`, ...), keep
several copies of it and lay other things beside. Nothing of that is looked up in a list: the place of the network is
the dictionary and the prefix under which the names and shapes of the architecture are found, all of them.

Nothing here needs torch: what does not fit is refused before torch is imported, in the same words as after.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.catalog.architectures import knows_architecture
from lowzoo.catalog.shapes import Skeleton
from lowzoo.checkpoints.files.content import branches, shape_text

# What trainers lay beside a backbone under the same prefix, by the first part of its name.
_HEADS = re.compile(
    r"(\w+_)?(heads?|fc\d?|classifier|logits|proj|projection|projector|prototypes?|predictor|pred|mlp|last_layer|"
    r"queue|queue_ptr|mask(ed)?_(token|embed)|cent(er|re)|n_averaged|loss|criterion|optimizer)\d*(_\w+)?|decoder_?\w*"
)
# Copies that are evaluated come first, those that only serve as keys last; in between the order of the file decides.
_EVALUATED = re.compile(r"(^|[._])(ema|teacher|target_encoder)([._]|$)")
_KEYS = re.compile(r"(^|[._])(momentum|momentum_encoder|encoder_k|target)([._]|$)")
_PREFIXES = 12
# How people name the copy that lies below no name.
TOP = "."
# Beside the zoo's own students, what a file that does not fit is likely to hold.
_COMMON = ("convnext_tiny", "vit_base_patch16_224", "vit_small_patch14_dinov2", "deit_small_distilled_patch16_224")


@dataclass
class Fit:
    """An attempt to find an architecture below one prefix of one dictionary.

    Args:
        place: Dictionary and prefix.
        own: What lies there, under the architecture's names.
        missing: Names that are not there.
        wrong: Names whose shape is another one.
        inside: Names that the architecture has not, among its own layers.
        beside: Names of other things that lie beside it.
        filled: Number of names that fit.
    """

    place: str
    own: Mapping[str, Any]
    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    filled: int = 0

    @property
    def complete(self) -> bool:
        """Whether the network is there, and nothing that would make it another one."""
        return not (self.missing or self.wrong or self.inside)


def places_of(
    path: Path,
    architecture: str,
    content: Mapping[str, Any],
    branch: str,
    skeleton_of: Callable[[str], Skeleton | None],
) -> list[Fit]:
    """Where the network lies, the copy first that is to be taken.

    Args:
        path: For messages.
        architecture: timm's name, with or without a tag.
        content: Content of the file.
        branch: Which of several copies, by a part of its place, or `TOP`; any if empty.
        skeleton_of: Gives that of an architecture without tag; None where it is not known.

    Raises:
        LowzooError: It is not there.
    """
    expected = skeleton_of(architecture.partition(".")[0])
    if expected is None:
        raise ValueError(f"nothing is known of {architecture}")
    found = [fit for place, state in branches(content) for fit in _fits(place, state, expected)]
    if branch:
        asked = branch.strip(".")
        named = [fit for fit in found if f".{asked}." in f".{fit.place}."]
        if not named:
            places = ", ".join(fit.place or TOP for fit in found if fit.complete) or "none"
            raise LowzooError(f"{path} holds no {branch}", f"Name a place that holds this architecture: {places}")
        # A copy that lies around another one is named by the first part of the other's place.
        found = [fit for fit in named if fit.place == asked] or named
    complete = [fit for fit in found if fit.complete]
    if not complete:
        raise _misfit(path, architecture, expected, found, content, skeleton_of)
    complete.sort(key=lambda fit: (not _EVALUATED.search(fit.place), bool(_KEYS.search(fit.place))))
    return complete


def stated_architecture(content: Mapping[str, Any]) -> str:
    """The architecture that a checkpoint itself names, if timm knows it; empty otherwise."""
    arguments = content.get("args")
    for word in (content.get("arch"), content.get("architecture"), getattr(arguments, "model", None)):
        if isinstance(word, str) and knows_architecture(word):
            return word
    return ""


def no_architecture(word: str, content: Mapping[str, Any]) -> LowzooError:
    """What to say of a checkpoint that is named alone: the file itself may tell its architecture."""
    named = stated_architecture(content)
    return LowzooError(
        f"{word} is a file, and a checkpoint alone does not say which network it holds",
        f"Write {named or 'ARCH'}@{word}" + ("" if named else ", with timm's name of its architecture"),
    )


def common_architectures() -> list[str]:
    """Those that are tried on a file that does not fit."""
    return list(dict.fromkeys([*catalog.students().values(), *_COMMON]))


def _fits(place: str, state: Mapping[str, Any], expected: Skeleton) -> Iterator[Fit]:
    """A fit for each prefix under which a good part of the architecture's names stands; the fullest first.

    A whole network further down, such as the `ema_model.` of a module that is the network itself, is another copy and
    no part of this one.
    """
    votes: Counter[str] = Counter()
    for key in state:
        parts = key.split(".")
        for at in range(len(parts)):
            if ".".join(parts[at:]) in expected.shapes:
                votes[".".join(parts[:at])] += 1
    fits: dict[str, Fit] = {}
    for prefix, _ in votes.most_common(_PREFIXES):
        start = f"{prefix}." if prefix else ""
        own = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
        fits[prefix] = fit_at(".".join(filter(None, (place, prefix))), own, expected)
    whole = [f"{prefix}." for prefix, fit in fits.items() if fit.complete]
    for prefix, fit in fits.items():
        start = f"{prefix}." if prefix else ""
        copies = tuple(each.removeprefix(start) for each in whole if each != start and each.startswith(start))
        if copies and not fit.complete:
            own = {key: value for key, value in fit.own.items() if not key.startswith(copies)}
            fits[prefix] = fit_at(fit.place, own, expected)
    yield from sorted(fits.values(), key=lambda fit: -fit.filled)


def fit_at(place: str, own: Mapping[str, Any], expected: Skeleton) -> Fit:
    """How tensors fit an architecture whose names they should have.

    Args:
        place: Where they lie in the file.
        own: They, by name.
        expected: The architecture's.
    """
    fit = Fit(place, own)
    for name, shape in expected.shapes.items():
        if name not in own:
            if not name.endswith("num_batches_tracked"):
                fit.missing.append(name)
        elif own[name].shape == shape or (name == "pos_embed" and expected.grid_side(own[name], shape)):
            fit.filled += 1
        else:
            fit.wrong.append(name)
    tops = {name.partition(".")[0] for name in expected.shapes}
    for name in own.keys() - expected.shapes.keys():
        top = name.partition(".")[0]
        classifier = any(name.startswith(f"{part}.") for part in expected.classifiers)
        # What stands among the network's own layers belongs to it: a deeper network holds a shallower one whole.
        harmless = classifier or (top not in tops and _HEADS.fullmatch(top)) or name.endswith("num_batches_tracked")
        (fit.beside if harmless else fit.inside).append(name)
    fit.inside.sort()
    return fit


def _misfit(
    path: Path,
    architecture: str,
    expected: Skeleton,
    fits: list[Fit],
    content: Mapping[str, Any],
    skeleton_of: Callable[[str], Skeleton | None],
) -> LowzooError:
    named = stated_architecture(content)
    hint = f"Name its architecture; the file says {named}" if named and named != architecture else ""
    if not hint and (near := nearest(content, architecture, skeleton_of)):
        hint = f"Name its architecture; {near} fits"
    hint = hint or "Name the architecture of the file"
    if not fits:
        return LowzooError(f"{path} does not hold a {architecture}: none of its tensors is there by name", hint)
    best = max(fits, key=lambda fit: (fit.filled, -len(fit.inside)))
    where = f" below {best.place}" if best.place else ""
    return LowzooError(f"{path} does not hold a {architecture}{where}: {difference(best, expected)}", hint)


def difference(fit: Fit, expected: Skeleton) -> str:
    """What is missing, of another shape, and left over, the first of each by name."""
    parts = []
    if fit.missing:
        parts.append(f"{len(fit.missing)} of {len(expected.shapes)} tensors are missing, first {fit.missing[0]}")
    if fit.wrong:
        name = fit.wrong[0]
        found, wanted = shape_text(fit.own[name].shape), shape_text(expected.shapes[name])
        parts.append(f"{len(fit.wrong)} have another shape, first {name}, which is {found} there and {wanted} expected")
    if fit.inside:
        parts.append(f"{len(fit.inside)} of the file's are left over, first {fit.inside[0]}")
    return "; ".join(parts)


def nearest(content: Mapping[str, Any], architecture: str, skeleton_of: Callable[[str], Skeleton | None]) -> str:
    """A common architecture that the file fills, if there is one."""
    all_branches = list(branches(content))
    for name in common_architectures():
        if name == architecture or not knows_architecture(name) or (expected := skeleton_of(name)) is None:
            continue
        if any(fit.complete for place, state in all_branches for fit in _fits(place, state, expected)):
            return name
    return ""
