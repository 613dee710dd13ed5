"""What every store of encoded images offers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lowzoo.data.reading.found import Found


class Reader(Protocol):
    """What stores encoded images: by index, picklable, safe after a fork."""

    def __len__(self) -> int: ...

    def encoded(self, index: int) -> bytes:
        """Give the bytes of file `index`, or raise `BadImage`."""

    def where(self, index: int) -> str:
        """Name file `index` for messages."""

    def fingerprint(self) -> str:
        """Identify the content of all images in their order, by a sha256 in hexadecimal."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """One split of a set.

    Args:
        reader: Its images.
        labels: (N,) class numbers, -1 for an image without a class; None for a set without classes.
        class_names: What the numbers mean, or None.
        found: What only opening shows.
    """

    reader: Reader
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] | None = None
    found: Found = field(default_factory=Found)


# One split of a set that has been found and not been opened yet.
Part = Callable[[], Opened]
