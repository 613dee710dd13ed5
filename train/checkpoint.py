"""Checkpoints that hold a whole run, written so that a kill or a full disk never costs the last good one."""

import errno
import os
from pathlib import Path
from typing import Any

import torch

from lowzoo.errors import LowzooError
from lowzoo.files import atomic_path

_NAME, _PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values); the checkpoint before stays as `checkpoint.previous.pt`.

    Raises:
        LowzooError: The disk is full or the folder cannot be written to; the old checkpoints are intact.
    """
    path = folder / _NAME
    try:
        with atomic_path(folder / ".checkpoint.new.pt") as temporary:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:  # torch's zip writer names a wrong position in the file where a disk is full
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
    except LowzooError as error:
        raise LowzooError(
            f"cannot write {path}: {error.message.rpartition(': ')[2]}; the checkpoint before it is intact",
            "Free some space, then go on with --resume",
        ) from error
    if path.exists():
        path.replace(folder / _PREVIOUS)
    (folder / ".checkpoint.new.pt").replace(path)


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed while it saved has left: as large as a checkpoint, and of no use."""
    for path in folder.glob(".*checkpoint.new*.pt"):
        path.unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that can be read, or None if the run never wrote one.

    Raises:
        LowzooError: There are checkpoints, but none can be read.
    """
    failures: list[str] = []
    for name in (_NAME, _PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return state
        except Exception as error:  # any damage: the previous one may be whole
            failures.append(f"{name}: {' '.join(str(error).split())[:100]}")
    if failures:
        raise LowzooError(
            f"no checkpoint in {folder} can be read ({'; '.join(failures)})", "Start the run again in another folder"
        )
    return None
