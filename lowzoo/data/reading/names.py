"""Names of many files in one bytes object.

A list of a million strings would be copied page by page into every forked data worker as soon as its reference counts
are touched.
"""

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def pack_names(names: Sequence[bytes]) -> tuple[bytes, NDArray[np.int64]]:
    """Join names, as the file system spells them.

    Returns:
        The joined names, and (N,) where each ends.
    """
    return b"".join(names), np.cumsum([len(name) for name in names], dtype=np.int64)


def name_at(packed: bytes, ends: NDArray[np.int64], index: int) -> str:
    """Give name `index` (0 <= index < N) of what `pack_names` joined."""
    start = int(ends[index - 1]) if index else 0
    return os.fsdecode(packed[start : int(ends[index])])
