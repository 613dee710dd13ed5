"""Some images of another store."""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from lowzoo.data.reading.reader import Reader


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
        """Digest the other reader's fingerprint and the indices: all of its content has been looked at anyway."""
        return sha256(self.reader.fingerprint().encode() + self.indices.tobytes()).hexdigest()
