"""Images as files in a folder."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels import formats
from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.reading.found import OWN, some_of
from lowzoo.data.reading.identity import file_digests, joint_digest
from lowzoo.data.reading.kinds import BROKEN_LINK, HIDDEN_FOLDERS, NO_FILE, kind_of
from lowzoo.data.reading.names import name_at, pack_names
from lowzoo.io import marks

_HIDDEN_FOLDERS_LEFT_OUT = "hidden folders"


@dataclass(frozen=True, eq=False)
class FolderReader:
    """Reads file i of a folder.

    Args:
        root: The folder.
        packed: The names relative to `root`, see `pack_names`.
        ends: (N,) int64, where each name ends in `packed`.
    """

    root: str
    packed: bytes
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, root: Path | str, names: Sequence[str]) -> "FolderReader":
        """Read these names, relative to `root` or absolute."""
        return cls(str(root), *pack_names([os.fsencode(name) for name in names]))

    def __len__(self) -> int:
        return len(self.ends)

    def encoded(self, index: int) -> bytes:
        """Read the bytes of file `index`; `BadImage` where the file cannot be read."""
        try:
            with open(self.where(index), "rb") as file:
                return file.read()
        except (OSError, ValueError) as error:  # a name from a list may hold a zero byte
            raise BadImage(self.where(index), getattr(error, "strerror", None) or str(error)) from error

    def where(self, index: int) -> str:
        """Name file `index` by its path."""
        return os.path.join(self.root, name_at(self.packed, self.ends, index))

    @cached_property
    def _digest(self) -> str:
        return joint_digest(file_digests([self.where(i) for i in range(len(self))]))

    def fingerprint(self) -> str:
        """Digest the content of all files in their order; names and places do not count."""
        return self._digest


@dataclass(slots=True)
class Listing:
    """What lies in a folder, sub-folders included.

    Args:
        names: Names of the pictures relative to the folder, sorted, with slashes.
        left_out: How many files of each other kind there are, see `lowzoo.data.reading.found.Found`.
        notes: What a reader should know.
    """

    names: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def list_folder(root: Path) -> Listing:
    """Find the pictures under `root`, each folder once, however often links lead to it.

    Raises:
        LowzooError: A folder cannot be read.
    """
    listing = Listing()
    walk = _Walk(listing)
    # Folders in their own place come first, so that a link to one is the one that is passed over.
    pending = [(str(root), "")]
    while pending:
        walk.into(*pending.pop(0))
        if not pending and walk.links:
            pending.append(walk.links.pop(0))
    listing.names.sort()
    if walk.repeated:
        listing.notes.append(
            f"{len(walk.repeated)} links lead to folders that are read anyway and were not followed: "
            f"{some_of(walk.repeated)}"
        )
    if walk.runs:
        listing.notes.append(f"run folders of lowzoo were left out: {some_of(walk.runs)}")
    return listing


class _Walk:
    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.seen: set[tuple[int, int]] = set()
        # Links to folders, path and name relative to the root, to be followed last.
        self.links: list[tuple[str, str]] = []
        self.repeated: list[str] = []
        self.runs: list[str] = []

    def into(self, path: str, name: str) -> None:
        """List a folder and what lies below it; links to other folders are kept for later."""
        stack = [(path, name)]
        while stack:
            folder, inside = stack.pop()
            try:
                status = os.stat(folder)
                if (status.st_dev, status.st_ino) in self.seen:
                    self.repeated.append(inside)
                    continue
                self.seen.add((status.st_dev, status.st_ino))
                with os.scandir(folder) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                raise LowzooError(
                    f"cannot read the folder {folder}: {error.strerror}", "Check its permissions"
                ) from error
            folders = [entry for entry in found if _is(entry, os.DirEntry.is_dir)]
            directories = {entry.name for entry in folders}
            files = [entry for entry in found if entry.name not in directories]
            if inside and marks.is_run_folder({entry.name for entry in files}):
                self.runs.append(inside)
                continue
            prefix = f"{inside}/" if inside else ""
            seen = [entry for entry in folders if not entry.name.startswith(HIDDEN_FOLDERS)]
            self.listing.left_out[_HIDDEN_FOLDERS_LEFT_OUT] += len(folders) - len(seen)
            self.links += [(entry.path, prefix + entry.name) for entry in seen if entry.is_symlink()]
            stack += [(entry.path, prefix + entry.name) for entry in reversed(seen) if not entry.is_symlink()]
            for entry in files:
                self._file(entry, prefix + entry.name)

    def _file(self, entry: "os.DirEntry[str]", name: str) -> None:
        left_out = self.listing.left_out
        if not _is(entry, os.DirEntry.is_file):
            left_out[BROKEN_LINK if entry.is_symlink() else NO_FILE] += 1
            return
        kind = formats.extension(entry.name)
        if kind == "parquet" and marks.is_own_table(Path(entry.path)):
            left_out[OWN] += 1
        elif what := kind_of(entry.name, head_of(entry.path)):
            left_out[what] += 1
        else:
            self.listing.names.append(name)


def _is(entry: "os.DirEntry[str]", kind: Callable[["os.DirEntry[str]"], bool]) -> bool:
    """Ask what an entry is; a link that leads in a circle is nothing."""
    try:
        return kind(entry)
    except OSError:
        return False


def head_of(path: str) -> Callable[[int], bytes]:
    """What reads the first bytes of a file; nothing of one that cannot be read."""

    def head(count: int) -> bytes:
        try:
            with open(path, "rb", buffering=0) as file:
                return file.read(count)
        except OSError:
            return b""

    return head
