"""From a store that names its pictures to the splits and classes of a set, the same for folders, archives and lists."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.data.labels.class_numbers import Classes, number_classes
from lowzoo.data.labels.labels_file import classes_by_name
from lowzoo.data.labels.layout import Arranged, arrange, classes_of
from lowzoo.data.labels.split_names import SPLITS
from lowzoo.data.reading.found import Found
from lowzoo.data.reading.reader import Opened, Part, Reader
from lowzoo.data.reading.subset import SubsetReader


@dataclass(slots=True, eq=False)
class Members:
    """N pictures of a store.

    Args:
        names: Name of each picture, with slashes between folders; empty for one that has been lost with its name.
        pick: From indices (K,), or None for all, to a reader of these pictures.
        classes: (N,) what the store itself says about each picture's class, empty for nothing; None if it says nothing.
        lost: (N,) which pictures cannot be read anyway; None if all may be.
        splits: (N,) the split of each where the store itself divides the set, empty for none.
        left_out: How many files of each other kind there are, see `lowzoo.data.reading.found.Found`.
        notes: What a reader should know.
    """

    names: Sequence[str]
    pick: Callable[[NDArray[np.int64] | None], Reader]
    classes: Sequence[str] | None = None
    lost: NDArray[np.bool_] | None = None
    splits: Sequence[str] | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def picked(reader: Reader) -> Callable[[NDArray[np.int64] | None], Reader]:
    """How pictures are picked from a reader of all of them."""
    return lambda indices: reader if indices is None else SubsetReader(reader, indices)


def parts_of(members: Members, what: str, *, root: Path, labels: Path | None = None) -> tuple[dict[str, Part], Found]:
    """Find splits and classes.

    Args:
        members: The pictures.
        what: Names the folder or archive, for messages.
        root: What names are relative to, for a labels file that is relative to another folder.
        labels: The user's labels file; it counts more than all others.

    Returns:
        What opens each split in the order of train, validation, test ("train" alone for a set that is not divided), and
        what the set was made from.

    Raises:
        LowzooError: Two folders mean the same split, or nothing of the labels file fits.
    """
    notes = list(members.notes)
    given: Classes | None = None
    if labels is not None:
        texts, said = classes_by_name(labels, members.names, root)
        notes += said
        given = _numbered(texts, members.lost)
    elif members.classes is not None and any(members.classes):
        given = _numbered(members.classes, members.lost)
        without = np.array([not text for text in members.classes])
        if missing := int((without if members.lost is None else without & ~members.lost).sum()):
            notes.append(f"{missing} pictures of {what} have no class")
    arranged = (
        _by_column(members, what, given, notes)
        if members.splits is not None
        else _by_folder(members, what, given, notes)
    )
    parts: dict[str, Part] = {}
    for split, mine in arranged.items():
        numbers, names = (mine.labels, mine.class_names) if given is None else given
        if given is not None and numbers is not None:
            numbers = numbers[mine.indices]
        parts[split] = _Part(members, mine.indices, numbers, names)
    return parts, Found.of(len(members.names), members.left_out, notes)


def the_only_part(parts: dict[str, Part], what: str) -> Part:
    """The part of a store that is one split of a larger set by its own name.

    Raises:
        LowzooError: It is divided itself.
    """
    if len(parts) > 1:
        raise LowzooError(
            f"{what} is one split by its name and holds {', '.join(parts)}", "Give it a name without train, val or test"
        )
    (part,) = parts.values()
    return part


def named_by_user(parts: dict[str, Part]) -> dict[str, Part]:
    """The parts of a file that the user has named: where it holds one split alone, that is what he means by default."""
    return {"train": next(iter(parts.values()))} | parts if len(parts) == 1 else parts


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    members: Members
    indices: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...] | None

    def __call__(self) -> Opened:
        whole = len(self.indices) == len(self.members.names)
        labels = self.labels
        if labels is not None and labels.max(initial=-1) < 0:
            labels = None
        reader = self.members.pick(None if whole else self.indices)
        return Opened(reader, labels, self.class_names if labels is not None else None)


def _numbered(texts: Sequence[str], lost: NDArray[np.bool_] | None) -> Classes:
    labels, names = number_classes(texts)
    if labels is not None and lost is not None:
        # Nobody sees the class of a picture that cannot be read, and it would leave the set with a gap.
        labels[lost & (labels < 0)] = 0
    return labels, names


def _by_folder(members: Members, what: str, given: Classes | None, notes: list[str]) -> dict[str, Arranged]:
    names = members.names
    present = np.fromiter((bool(name) for name in names), np.bool_, len(names))
    if present.all():
        arranged, said = arrange(names, what, classes=given is None)
        notes += said
        return arranged
    indices, lost = np.flatnonzero(present), np.flatnonzero(~present)
    arranged, said = arrange([names[i] for i in indices.tolist()], what, classes=given is None)
    notes += said
    # A lost picture counts for the first split and the first class, which nobody sees, as it cannot be read.
    first = next(iter(arranged))
    found = {}
    for split, mine in arranged.items():
        more = lost if split == first else lost[:0]
        order = np.argsort(np.concatenate([indices[mine.indices], more]), kind="stable")
        labels = mine.labels
        if labels is not None:
            labels = np.concatenate([labels, np.zeros(len(more), np.int64)])[order]
        found[split] = Arranged(np.concatenate([indices[mine.indices], more])[order], labels, mine.class_names)
    return found


def _by_column(members: Members, what: str, given: Classes | None, notes: list[str]) -> dict[str, Arranged]:
    assert members.splits is not None
    splits = np.array(members.splits)
    outside = int((splits == "").sum())
    if outside:
        notes.append(f"{outside} pictures of {what} belong to no split")
    found = {}
    for split in SPLITS:
        mine = np.flatnonzero(splits == split)
        if len(mine) and given is None:
            paths = [tuple(members.names[i].split("/")) for i in mine.tolist()]
            found[split] = classes_of(paths, mine, f"{what}, {split}", notes)
        elif len(mine):
            found[split] = Arranged(mine, None, None)
    return found
