"""What every store of encoded images offers."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Reader(Protocol):
    """What stores encoded images: by index, picklable, safe after a fork."""

    def __len__(self) -> int: ...

    def encoded(self, index: int) -> bytes:
        """Give the bytes of file `index`, or raise `BadImage`."""

    def where(self, index: int) -> str:
        """Name file `index` for messages."""

    def fingerprint(self) -> str:
        """Identify the content by a sha256 in hexadecimal."""


# A reader, labels (N,) or None, and the names of the classes or None.
Opened = tuple[Reader, NDArray[np.int64] | None, tuple[str, ...] | None]
# One split of a set that has been found and not been opened yet.
Part = Callable[[], Opened]
