"""Images that a text, CSV or TSV file lists by their paths."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.data.labels.members import Members
from lowzoo.data.labels.rows import read_rows
from lowzoo.data.reading.found import some_of
from lowzoo.data.reading.kinds import kind_of, member_name
from lowzoo.data.reading.options import SourceOptions
from lowzoo.data.reading.reader import Reader
from lowzoo.data.stores.folder import FolderReader, head_of

_MISSING = "paths that do not exist"


def list_members(path: Path, options: SourceOptions) -> Members:
    """List the pictures of a list, whose paths are absolute or relative to its own folder.

    Raises:
        LowzooError: It cannot be read, or none of its paths is a picture.
    """
    rows = read_rows(path, options.image_column, options.label_column)
    folder = os.path.dirname(os.path.abspath(path))
    files: list[str] = []
    kept: list[int] = []
    missing: list[str] = []
    left_out: Counter[str] = Counter()
    for i, written in enumerate(rows.paths):
        file = _place(folder, written)
        if file is None:
            missing.append(written or "(an empty cell)")
            continue
        kind = kind_of(file, head_of(file))
        if kind:
            left_out[kind] += 1
        else:
            files.append(file)
            kept.append(i)
    if not files:
        why = f"{len(missing)} of its {len(rows.paths)} paths do not exist, it begins with {some_of(missing)}"
        raise LowzooError(
            f"none of the paths in {path} is a picture: {why if missing else 'they are other files'}",
            "Write paths relative to the folder of the list, or absolute ones",
        )
    notes = [*rows.notes]
    if missing:
        left_out[_MISSING] += len(missing)
        notes.append(f"{len(missing)} of {len(rows.paths)} paths in {path.name} do not exist: {some_of(missing)}")
    notes += _repeated(path, files, None if rows.classes is None else [rows.classes[i] for i in kept])
    root = os.path.commonpath([os.path.dirname(file) for file in files])
    names = [os.path.relpath(file, root) if root != "/" else file[1:] for file in files]
    # A list that lies beside its class folders names them, and one of a single folder has none.
    inside = all(file.startswith(folder + "/") for file in files)
    shown = [member_name(file[len(folder) :]) for file in files] if inside else names

    def pick(indices: NDArray[np.int64] | None) -> Reader:
        return FolderReader.of("", files if indices is None else [files[i] for i in indices.tolist()])

    return Members(
        shown,
        pick,
        classes=None if rows.classes is None else [rows.classes[i] for i in kept],
        splits=None if rows.splits is None else [rows.splits[i] for i in kept],
        left_out=left_out,
        notes=notes,
    )


def _place(folder: str, written: str) -> str | None:
    """The file that a path of the list means; None where there is none."""
    for text in dict.fromkeys((written, written.replace("\\", "/"))):
        file = os.path.normpath(os.path.join(folder, os.path.expanduser(text)))
        try:
            if text and os.path.isfile(file):
                return file
        except ValueError:  # a zero byte
            return None
    return None


def _repeated(path: Path, files: list[str], classes: list[str] | None) -> list[str]:
    again = [file for file, count in Counter(files).items() if count > 1]
    if not again:
        return []
    pairs = set(zip(files, classes or [""] * len(files), strict=True))
    more = len(pairs) - len(set(files))
    two = f", {more} times with another class" if more else ""
    return [f"{len(again)} paths stand more than once in {path.name}{two}: {some_of(again)}"]
