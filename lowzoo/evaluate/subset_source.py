"""Some images of a source, as a source."""

import dataclasses
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from lowzoo.data.reader import Reader
from lowzoo.data.source import ImageSource


@dataclass(frozen=True, slots=True, eq=False)
class SubsetReader:
    """Reads image `indices[i]` of another reader."""

    reader: Reader
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)

    def encoded(self, index: int) -> bytes:
        """Give the bytes of image `index` of the subset."""
        return self.reader.encoded(int(self.indices[index]))

    def where(self, index: int) -> str:
        """Name image `index` of the subset."""
        return self.reader.where(int(self.indices[index]))

    def fingerprint(self) -> str:
        """Digest the other reader's fingerprint and the indices."""
        return sha256(self.reader.fingerprint().encode() + self.indices.tobytes()).hexdigest()


def subset(source: ImageSource, indices: NDArray[np.int64]) -> ImageSource:
    """The images `indices` (K,) of a source, labels included."""
    return dataclasses.replace(
        source,
        reader=SubsetReader(source.reader, indices),
        labels=None if source.labels is None else source.labels[indices],
    )
