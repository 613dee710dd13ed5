"""A file beside the pictures that names the class of each."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lowzoo.base.errors import LowzooError
from lowzoo.data.labels.rows import read_rows
from lowzoo.data.reading.found import some_of
from lowzoo.data.reading.kinds import member_name


def classes_by_name(file: Path, names: Sequence[str], root: Path) -> tuple[list[str], list[str]]:
    """Find the class of each picture.

    A line's path is relative to the set, or to the file's own folder, or absolute. Where no picture has it, the name
    without its folders decides if it is the only one, and after that the name without its extension.

    Args:
        file: With a path and a class a line, see `lowzoo.data.labels.rows`.
        names: Names of the pictures relative to `root`; empty for a lost one.
        root: The folder or archive.

    Returns:
        (N,) the class of each picture, empty for none, and what to say.

    Raises:
        LowzooError: It names no class, no picture of the set, or two classes for one picture.
    """
    path = file.expanduser()
    rows = read_rows(path)
    if rows.classes is None:
        raise LowzooError(f"{path} names no classes", "Write a path and a class a line, or columns path and label")
    finders = _finders(names)
    base = os.path.abspath(root)
    classes = [""] * len(names)
    line_of = [-1] * len(names)
    absent: list[str] = []
    unsure: list[str] = []
    spellings = [_spellings(written, path, base) for written in rows.paths]
    # A path that fits nothing counts by its name only where no path fits: other splits have the same names.
    by_path = any(by == 0 and finders[0].get(spelled, -2) >= 0 for ways in spellings for spelled, by in ways)
    for line, (written, label, ways) in enumerate(zip(rows.paths, rows.classes, spellings, strict=True)):
        found = -2
        for spelled, by in ways:
            other_place = by > 0 and by_path and "/" in written.replace("\\", "/")
            found = -2 if other_place else finders[by].get(spelled, -2)
            if found != -2:
                break
        if found == -2:
            absent.append(written)
        elif found == -1:
            unsure.append(written)
        elif line_of[found] >= 0 and classes[found] != label:
            raise LowzooError(
                f"{path} gives {names[found]} the classes {classes[found]!r} and {label!r}",
                "Keep one line a picture",
            )
        else:
            classes[found], line_of[found] = label, line
    notes = [*rows.notes]
    if any(classes) and not by_path:
        notes.append(f"no path of {path.name} fits; its lines were matched by the names of files alone")
    if not any(classes):
        raise LowzooError(
            f"nothing that {path} names is among the {len(names)} pictures of {root}; it begins with "
            f"{some_of(rows.paths)}",
            "Write paths relative to the folder of the pictures",
        )
    if absent:
        notes.append(f"{len(absent)} names of {path.name} are not among the pictures: {some_of(absent)}")
    if unsure:
        notes.append(f"{len(unsure)} names of {path.name} fit several pictures and were left out: {some_of(unsure)}")
    without = [name for name, label in zip(names, classes, strict=True) if name and not label]
    if without:
        notes.append(f"{len(without)} pictures have no class in {path.name}: {some_of(without)}")
    return classes, notes


def _finders(names: Sequence[str]) -> list[dict[str, int]]:
    """By path, by base name and by stem to the picture's index; -1 where several have it."""
    found: list[dict[str, int]] = []
    for spelled in (lambda name: name, _base, _stem):
        own = [spelled(name) for name in names]
        count = Counter(own)
        found.append({text: i if count[text] == 1 else -1 for i, text in enumerate(own) if text})
    return found


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _stem(name: str) -> str:
    return os.path.splitext(_base(name))[0]


def _spellings(written: str, file: Path, root: str) -> list[tuple[str, int]]:
    """The ways in which a path of the file may name a picture, and what each is compared with."""
    ways: list[tuple[str, int]] = []
    for text in dict.fromkeys((written, written.replace("\\", "/"))):
        ways.append((member_name(text), 0))
        absolute = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(file)), text))
        if absolute.startswith(root + "/"):
            ways.append((absolute[len(root) + 1 :], 0))
    name = written.replace("\\", "/")
    return [*ways, (_base(name), 1), (_base(name), 2)]
