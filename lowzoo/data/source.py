"""One way from a SRC word to images: a folder, parquet, or the embedded sample set."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lowzoo.data.folder import open_folder
from lowzoo.data.parquet import open_parquet
from lowzoo.data.samples import SAMPLE_SPLITS, open_samples
from lowzoo.errors import LowzooError

SAMPLES_NAME = "lowzoo-samples"
_SPELLINGS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}


class Reader(Protocol):
    """What stores encoded images: by index, picklable, safe after a fork."""

    def __len__(self) -> int: ...

    def encoded(self, index: int) -> bytes:
        """Give the bytes of file `index`, or raise `BadImage`."""

    def where(self, index: int) -> str:
        """Name file `index` for messages."""

    def fingerprint(self) -> str:
        """Identify the content by a sha256 in hexadecimal."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageSource:
    """N encoded images, perhaps with labels; cheap to pickle to data workers.

    Args:
        name: What the set is called in messages and results, with its split.
        reader: Where the bytes come from.
        labels: (N,) class numbers, or None.
        class_names: What the numbers mean, or None.
    """

    name: str
    reader: Reader
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.reader)

    def encoded(self, index: int) -> bytes:
        """Give the bytes of image `index` (0 <= index < N); `BadImage` if they cannot be read."""
        return self.reader.encoded(index)

    def where(self, index: int) -> str:
        """Name image `index` for messages: its path, or file and row."""
        return self.reader.where(index)

    def fingerprint(self) -> str:
        """Identify the content: 16 hexadecimal digits, equal on every machine that holds the same data."""
        return self.reader.fingerprint()[:16]

    def require_labels(self) -> NDArray[np.int64]:
        """Give the labels (N,), or refuse a set without them."""
        if self.labels is None:
            raise LowzooError(
                f"{self.name} has no labels, which this needs",
                "Use a folder with one sub-folder a class, or parquet with a column 'label'",
            )
        if self.labels.min() < 0:
            raise LowzooError(
                f"{self.name} has no label for {int((self.labels < 0).sum())} of its {len(self)} images",
                "Remove the images that have none",
            )
        return self.labels


def open_source(word: str | Path | None, split: str = "train") -> ImageSource:
    """Open a set of images.

    Args:
        word: A folder of images, a parquet file, a folder of parquet files; None is the embedded sample set.
        split: Which part of it. A set that is not divided is all "train".

    Raises:
        LowzooError: No such path, nothing usable in it, or no such split.
    """
    if word is None:
        sample, numbers, names = open_samples(split)
        return ImageSource(f"{SAMPLES_NAME}/{split}", sample, numbers, names)
    path = Path(word).expanduser()
    parts = _parts(path)
    if split not in parts:
        raise LowzooError(f"{word} has no split {split!r}", f"Choose one of: {', '.join(parts)}")
    name = f"{path.resolve().name}/{split}"
    part = parts[split]
    if isinstance(part, Path):
        return ImageSource(name, *open_folder(part))
    return ImageSource(name, *open_parquet(part))


def split_names(word: str | Path | None) -> tuple[str, ...]:
    """Tell which splits `open_source` gives for `word`: ("train",) for a set that is not divided."""
    return SAMPLE_SPLITS if word is None else tuple(_parts(Path(word).expanduser()))


def _parts(path: Path) -> dict[str, Path | list[Path]]:
    """Find the splits of a set: each an image folder, or parquet files in order."""
    if not path.exists():
        raise LowzooError(f"{path} does not exist", "Name a folder of images or a parquet file")
    if path.is_file():
        if path.suffix.lower() != ".parquet":
            raise LowzooError(f"{path} is neither a folder nor a parquet file", "Name the folder that holds the images")
        return {"train": [path], **{split: [path] for split in _SPELLINGS if _split_of(path) == split}}
    try:
        tables = _tables(path) or _tables(path / "data")
    except OSError as error:
        raise LowzooError(f"cannot read the folder {path}: {error.strerror}", "Check its permissions") from error
    if tables:
        divided: dict[str, Path | list[Path]] = {}
        for split in _SPELLINGS:
            mine = [table for table in tables if _split_of(table) == split]
            if mine:
                divided[split] = mine
        return divided or {"train": tables}
    folders: dict[str, Path | list[Path]] = {}
    for split, spellings in _SPELLINGS.items():
        found = [path / spelling for spelling in spellings if (path / spelling).is_dir()]
        if found:
            folders[split] = found[0]
    others = [entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    # train/ beside bus/ and car/ is a class, not a split.
    divided_by_folder = "train" in folders and (len(folders) > 1 or len(others) == 1)
    return folders if divided_by_folder else {"train": path}


def _tables(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.parquet") if file.is_file() and not file.name.startswith("."))


def _split_of(table: Path) -> str | None:
    first = re.split(r"[-_.]", table.stem)[0].lower()
    return next((split for split, spellings in _SPELLINGS.items() if first in spellings), None)
