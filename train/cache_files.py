"""The two files of one epoch of a teacher cache: records, and the checksums that vouch for them."""

import contextlib
import fcntl
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_LOCK = "cache.lock"


class EpochFiles:
    """Records and checksums, mapped for reading; sparse until they are filled.

    Args:
        folder: Of the cache.
        epoch: Of views.
        count: Images.
        row: Type of a record.
        writable: Make the files where they are missing.

    Raises:
        FileNotFoundError: They are missing, or not complete yet, and not to be made.
    """

    def __init__(self, folder: Path, epoch: int, count: int, row: np.dtype[np.void], *, writable: bool) -> None:
        self._rows, self._sums = (
            _open(_path(folder, epoch, kind), count * size, writable)
            for kind, size in (("rows", row.itemsize), ("sums", 8))
        )
        self.rows: NDArray[np.void] = np.frombuffer(_map(self._rows), row)
        self.sums: NDArray[np.uint64] = np.frombuffer(_map(self._sums), np.uint64)

    def write(self, at: NDArray[np.int64], rows: NDArray[np.void], sums: NDArray[np.uint64]) -> None:
        """Write records and then their checksums; nothing is vouched for before all of it is in place.

        Args:
            at: (B,) which rows.
            rows: (B,) records.
            sums: (B,) checksums.

        Raises:
            OSError: The disk is full, or worse.
        """
        for file, values in ((self._rows, rows), (self._sums, sums)):
            for index, value in zip(at.tolist(), values, strict=True):
                _write_all(file, value.tobytes(), index * values.itemsize)

    def close(self) -> None:
        """Give the file handles back; the maps go with their last reader."""
        os.close(self._rows)
        os.close(self._sums)


def count_filled(folder: Path, epoch: int) -> int:
    """How many rows of an epoch have a checksum."""
    path = _path(folder, epoch, "sums")
    return int(np.count_nonzero(np.fromfile(path, np.uint64))) if path.exists() else 0


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other writers of the cache in `folder` out while the block runs, whichever process they are in."""
    # The lock belongs to this opening of the file, so the threads and forks of one process exclude each other too.
    with (folder / _LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _path(folder: Path, epoch: int, kind: str) -> Path:
    return folder / f"epoch-{epoch:04}.{kind}"


def _open(path: Path, size: int, writable: bool) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY, 0o666)
    if os.fstat(file).st_size != size:
        if not writable:
            os.close(file)
            raise FileNotFoundError(f"{path} is being made")
        os.ftruncate(file, size)
    return file


def _map(file: int) -> mmap.mmap:
    mapped = mmap.mmap(file, 0, prot=mmap.PROT_READ)
    # Rows are read in random order; reading ahead would fetch a hundred times what is used.
    mapped.madvise(mmap.MADV_RANDOM)
    return mapped


def _write_all(file: int, data: bytes, offset: int) -> None:
    """Write, going on where the system took a part only, as it does just before the disk is full."""
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written
