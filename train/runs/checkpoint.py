"""Checkpoints that hold a whole run, written so that a kill or a full disk never costs the last good one."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from lowzoo.base.errors import LowzooError
from lowzoo.io.files import atomic_path

_NAME, _PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
_NEW, _KEPT = ".checkpoint.new.pt", "checkpoints"
# What a damaged file makes torch raise has no common family.
_DAMAGE = Exception


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values); the checkpoint before stays as `checkpoint.previous.pt`.

    Raises:
        LowzooError: The disk is full or the folder cannot be written to; the old checkpoints are intact.
    """
    _write(folder, state)
    path = folder / _NAME
    if path.exists():
        path.replace(folder / _PREVIOUS)
    (folder / _NEW).replace(path)


def keep_checkpoint(folder: Path, step: int, most: int) -> None:
    """Let the newest checkpoint, which is that of `step`, stay for `--from`; of more than `most`, thin them out.

    It costs no writing: the file gets a second name. What goes is what leaves the smallest gap, the start of the run
    being one of the places to go back to.
    """
    if not most:
        return
    kept = folder / _KEPT / f"{step:08}.pt"
    kept.parent.mkdir(exist_ok=True)
    kept.unlink(missing_ok=True)
    try:
        kept.hardlink_to(folder / _NAME)
    except OSError:  # a file system without links
        with atomic_path(kept) as temporary:
            shutil.copyfile(folder / _NAME, temporary)
    steps = kept_steps(folder)
    while len(steps) > most:
        places = [0, *steps]
        # The newest one stays: a run that went wrong most often wants to go back a little.
        gaps = {places[i]: places[i + 1] - places[i - 1] for i in range(1, len(places) - 1)}
        goes = min(gaps, key=lambda place: (gaps[place], place)) if gaps else steps[0]
        (folder / _KEPT / f"{goes:08}.pt").unlink()
        steps.remove(goes)


def kept_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints that were kept, in order."""
    return sorted(int(path.stem) for path in (folder / _KEPT).glob("*.pt") if path.stem.isdecimal())


def load_step(folder: Path, step: int) -> dict[str, Any] | None:
    """The checkpoint of a step; None for 0, the start of the run.

    Raises:
        LowzooError: None of this step was kept, or it is damaged.
    """
    if step == 0:
        return None
    names = [f"{_KEPT}/{step:08}.pt", _NAME, _PREVIOUS]
    found: set[int] = set(kept_steps(folder))
    for name in names:
        if (folder / name).exists():
            try:
                state = _load(folder / name)
            except _DAMAGE:
                found.discard(step)
                continue
            if state["step"] == step:
                return state
            found.add(state["step"])
    raise LowzooError(
        f"{folder} has no checkpoint of step {step}", f"Choose one of {', '.join(map(str, sorted({0, *found})))}"
    )


def go_back(folder: Path, state: dict[str, Any] | None) -> None:
    """Make `state` the newest checkpoint; those of later steps, of a way that was given up, are removed."""
    step = 0 if state is None else int(state["step"])
    if state is None:
        (folder / _NAME).unlink(missing_ok=True)
    else:
        _write(folder, state)
        (folder / _NEW).replace(folder / _NAME)
    (folder / _PREVIOUS).unlink(missing_ok=True)
    remove_after(folder, step)


def remove_after(folder: Path, step: int) -> None:
    """Remove kept checkpoints of later steps than the one that the run goes on from."""
    for later in kept_steps(folder):
        if later > step:
            (folder / _KEPT / f"{later:08}.pt").unlink()


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed while it saved has left: as large as a checkpoint, and of no use."""
    for path in folder.glob(".*checkpoint.new*.pt"):
        path.unlink(missing_ok=True)


def is_there(folder: Path) -> bool:
    """Whether a run wrote a checkpoint, readable or not."""
    return any((folder / name).exists() for name in (_NAME, _PREVIOUS))


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
            return _load(path)
        except _DAMAGE as error:  # the previous one may be whole
            failures.append(f"{name}: {' '.join(str(error).split())[:100]}")
    if failures:
        raise LowzooError(
            f"no checkpoint in {folder} can be read ({'; '.join(failures)})", "Start the run again in another folder"
        )
    return None


def _load(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _write(folder: Path, state: dict[str, Any]) -> None:
    try:
        with atomic_path(folder / _NEW) as temporary:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:  # torch's zip writer names a wrong position in the file where a disk is full
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
    except LowzooError as error:
        raise LowzooError(
            f"cannot write {folder / _NAME}: {error.message.rpartition(': ')[2]}; the checkpoint before it is intact",
            "Free some space, then go on with --resume",
        ) from error
