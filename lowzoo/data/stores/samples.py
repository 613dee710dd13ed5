"""The images inside the package: a labelled set of clip art, and a few photographs."""

import functools
import io
import zipfile
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

import numpy as np

from lowzoo.base.errors import LowzooError
from lowzoo.data.reading.found import Found
from lowzoo.data.reading.reader import Opened

SAMPLE_SPLITS = ("train", "validation")
_ARCHIVE = "clipart.zip"


@dataclass(frozen=True, slots=True)
class SampleReader:
    """Reads entry i of one split of the embedded archive.

    Args:
        entries: The names inside the archive, `split/class/name`.
    """

    entries: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def encoded(self, index: int) -> bytes:
        """Give the bytes of entry `index`."""
        return _archive().read(self.entries[index])

    def where(self, index: int) -> str:
        """Name entry `index`."""
        return f"{_ARCHIVE}:{self.entries[index]}"

    def fingerprint(self) -> str:
        """Digest the archive and the names of the entries."""
        return sha256(_archive_bytes() + "\n".join(self.entries).encode()).hexdigest()


def open_samples(split: str) -> Opened:
    """Open a split of the embedded set.

    Raises:
        LowzooError: No such split.
    """
    names = _archive().namelist()
    entries = tuple(name for name in names if name.startswith(f"{split}/"))
    if split not in SAMPLE_SPLITS or not entries:
        raise LowzooError(
            f"the embedded sample set has no split {split!r}", f"Choose one of: {', '.join(SAMPLE_SPLITS)}"
        )
    class_names = tuple(sorted({name.split("/")[1] for name in names}))
    number = {name: i for i, name in enumerate(class_names)}
    labels = np.array([number[name.split("/")[1]] for name in entries], np.int64)
    return Opened(SampleReader(entries), labels, class_names, Found.of(len(entries)))


def demonstration_photos() -> list[tuple[str, bytes]]:
    """Read the photographs inside the package.

    Returns:
        (file name, JPEG bytes) of each, sorted by name; authors and licences stand in `lowzoo/data/samples/README.md`.
    """
    found = [entry for entry in files("lowzoo.data.samples").iterdir() if entry.name.endswith(".jpg")]
    return [(entry.name, entry.read_bytes()) for entry in sorted(found, key=lambda entry: entry.name)]


@functools.lru_cache(maxsize=1)
def _archive_bytes() -> bytes:
    return (files("lowzoo.data.samples") / _ARCHIVE).read_bytes()


@functools.lru_cache(maxsize=1)
def _archive() -> zipfile.ZipFile:
    # From memory, not from the file: forked workers would share one file offset and read each other's bytes.
    return zipfile.ZipFile(io.BytesIO(_archive_bytes()))
