"""One way from a SRC word to images: a folder, parquet, tars, a `datasets` name, or the embedded sample set."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowzoo.data.reader import Reader
from lowzoo.data.splits import find_splits
from lowzoo.data.stores.stream import StreamReader
from lowzoo.errors import LowzooError


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

    @property
    def streamed(self) -> bool:
        """Whether the images come in an order of their own and cannot be picked by index."""
        return isinstance(self.reader, StreamReader)

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
        """Give the labels (N,), all of them from 0 on.

        Raises:
            LowzooError: The set has none, or some images have none.
        """
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
        word: See `find_splits`; None is the embedded sample set.
        split: Which part of it. A set that is not divided is all "train".

    Raises:
        LowzooError: No such path, nothing usable in it, or no such split.
    """
    name, parts = find_splits(word)
    if split not in parts:
        raise LowzooError(
            f"{name if word is None else word} has no split {split!r}", f"Choose one of: {', '.join(parts)}"
        )
    return ImageSource(f"{name}/{split}", *parts[split]())


def split_names(word: str | Path | None) -> tuple[str, ...]:
    """Tell which splits `open_source` gives for `word`: ("train",) for a set that is not divided."""
    return tuple(find_splits(word)[1])
