"""Images as files in a folder; class sub-folders give the labels."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowzoo.data.decode import BadImage
from lowzoo.data.names import name_at, pack_names
from lowzoo.errors import LowzooError

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"))


@dataclass(frozen=True, slots=True)
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

    def __len__(self) -> int:
        return len(self.ends)

    def encoded(self, index: int) -> bytes:
        """Read the bytes of file `index`; `BadImage` where the file cannot be read."""
        try:
            with open(self.where(index), "rb") as file:
                return file.read()
        except OSError as error:
            raise BadImage(self.where(index), error.strerror or str(error)) from error

    def where(self, index: int) -> str:
        """Name file `index` by its path."""
        return os.path.join(self.root, name_at(self.packed, self.ends, index))

    def fingerprint(self) -> str:
        """Digest the relative names and sizes; pixels are not read."""
        digest = sha256(self.packed)
        digest.update(self.ends.tobytes())
        sizes = np.fromiter((_size(self.where(i)) for i in range(len(self))), np.int64, len(self))
        digest.update(sizes.tobytes())
        return digest.hexdigest()


def open_folder(root: Path) -> tuple[FolderReader, NDArray[np.int64] | None, tuple[str, ...] | None]:
    """List the images under `root`.

    Returns:
        The reader, and labels (N,) with their class names when every image lies in a sub-folder (the first level is
        the class, as in torchvision's ImageFolder), else None twice.

    Raises:
        LowzooError: The folder cannot be read, is empty or holds no image file.
    """
    names = sorted(_walk(root))
    if not names:
        if next(root.iterdir(), None) is None:
            raise LowzooError(f"the folder {root} is empty", "Name a folder that holds images")
        raise LowzooError(
            f"no image file in the folder {root}", f"Give files that end in {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    reader = FolderReader(str(root), *pack_names([os.fsencode(name) for name in names]))
    folders = [name.split(os.sep, 1)[0] if os.sep in name else "" for name in names]
    if "" in folders:
        return reader, None, None
    class_names = tuple(sorted(set(folders)))
    number = {name: i for i, name in enumerate(class_names)}
    return reader, np.array([number[folder] for folder in folders], np.int64), class_names


def _walk(root: Path) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise LowzooError(
            f"cannot read the folder {error.filename}: {error.strerror}", "Check its permissions"
        ) from error

    for folder, subfolders, files in os.walk(root, onerror=refuse, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith((".", "__MACOSX"))]
        inside = os.path.relpath(folder, root)
        for name in files:
            # A leading dot marks thumbnails and the "._name.jpg" that archives from a Mac carry beside each file.
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                yield name if inside == os.curdir else os.path.join(inside, name)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1
