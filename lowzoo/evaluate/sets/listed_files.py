"""Images whose names and labels stand in a list of their owners; every named file must be there."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import ImageSource
from lowzoo.data.stores.folder import FolderReader


def listed_source(
    name: str,
    root: Path,
    files: Sequence[str],
    labels: Sequence[int],
    class_names: tuple[str, ...],
    *,
    list_file: Path,
) -> ImageSource:
    """The images `files`, relative to `root`.

    Args:
        name: Name of the source.
        root: The folder.
        files: N names.
        labels: N class numbers.
        class_names: Names of all classes.
        list_file: Where the names stand, for messages.

    Raises:
        LowzooError: The list is empty, names a class that there is not, or names a file that is not there.
    """
    if not files:
        raise LowzooError(f"{list_file} names no image", "Download it again")
    numbers = np.array(labels, np.int64)
    if numbers.min() < 0 or numbers.max() >= len(class_names):
        raise LowzooError(
            f"{list_file} holds the class {int(numbers.max())}, and there are {len(class_names)}", "Download it again"
        )
    missing = [file for file in files if not os.path.isfile(os.path.join(root, file))]
    if missing:
        raise LowzooError(
            f"{len(missing)} of {len(files)} images that {list_file.name} names are missing, the first: "
            f"{root / missing[0]}",
            "Unpack or download them again",
        )
    return ImageSource(name, FolderReader.of(root, files), numbers, class_names)


def first_there(name: str, candidates: Sequence[Path]) -> Path:
    """The first of several places where owners' archives end up.

    Raises:
        LowzooError: None of them is there.
    """
    for path in candidates:
        if path.exists():
            return path
    raise LowzooError(
        f"{name} is not there: no {candidates[0]}",
        "Unpack what its owners distribute" + (f", or have {candidates[1]}" if len(candidates) > 1 else ""),
    )


def read_json(file: Path, *keys: str) -> dict[str, Any]:
    """Read an object that has these keys.

    Raises:
        LowzooError: The file is missing, cut short, or holds something else.
    """
    try:
        document = json.loads(file.read_bytes())
    except OSError as error:
        raise LowzooError(f"cannot read {file}: {error.strerror}", "Download it again") from error
    except ValueError as error:
        raise LowzooError(f"{file} is cut short or no JSON: {error}", "Download it again") from error
    absent = [key for key in keys if not isinstance(document, dict) or not isinstance(document.get(key), list)]
    if absent:
        raise LowzooError(f"{file} has no list {absent[0]!r}", "Download it again")
    found: dict[str, Any] = document
    return found
