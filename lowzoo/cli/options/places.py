"""Options that name a file to write: what is a folder, or is written like one, is refused before anything is done."""

import os
from pathlib import Path

from lowzoo.base.errors import LowzooError

_ENDS = ("/", os.sep)


def file_to_write(text: str, _: str = "") -> Path:
    """Read the place of a file; a `Path` would lose the last stroke of `results/` and write a file called results.

    Raises:
        LowzooError: It is a folder.
    """
    if text.endswith(_ENDS) or Path(text).is_dir():
        raise LowzooError(f"cannot write {text}: it is a directory", "Name a file in it")
    return Path(text)


def file_or_folder_to_write(text: str, _: str = "") -> Path | str:
    """Read the place of a file, or of a folder, which keeps the stroke that says so."""
    return text if text.endswith(_ENDS) else Path(text)
