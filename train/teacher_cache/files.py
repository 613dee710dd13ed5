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
    """Records and checksums, mapped for reading; the records are sparse until they are filled.

    Args:
        folder: Folder of the cache.
        epoch: Epoch of the views.
        count: Images.
        row: Type of a record.
        writable: Open them for writing too.
        make: Make them where they are missing or half made; the caller holds the lock.

    Raises:
        FileNotFoundError: They are missing or half made, and not to be made.
        OSError: They cannot be opened or made.
    """

    def __init__(
        self, folder: Path, epoch: int, count: int, row: np.dtype[np.void], *, writable: bool, make: bool
    ) -> None:
        sums, rows = _path(folder, epoch, "sums"), _path(folder, epoch, "rows")
        whole = {sums: 8 * count, rows: count * row.itemsize}
        if make and any(not file.exists() or file.stat().st_size != size for file, size in whole.items()):
            _make(rows, sums, count, row.itemsize)
        mode = os.O_RDWR if writable else os.O_RDONLY
        self._sums = os.open(sums, mode)
        if os.fstat(self._sums).st_size != 8 * count:
            os.close(self._sums)
            raise FileNotFoundError(f"{sums} is being made")
        self._rows = os.open(rows, mode)
        if os.fstat(self._rows).st_size != whole[rows]:
            os.close(self._sums)
            os.close(self._rows)
            raise FileNotFoundError(f"{rows} is not whole")
        self._all_rows: NDArray[np.void] = np.frombuffer(_map(self._rows), row)
        self._all_sums: NDArray[np.uint64] = np.frombuffer(_map(self._sums), np.uint64)

    def read(self, at: NDArray[np.int64]) -> tuple[NDArray[np.void], NDArray[np.uint64]]:
        """Copy records (B,) and checksums (B,) out of the maps; both zero where nothing was written.

        A page of the map that was never written must not be touched: in memory-backed file systems that takes room,
        and ends the process where there is none.
        """
        # The checksum first: it stands for a record that was complete before.
        sums = self._all_sums[at]
        rows = np.zeros(len(at), self._all_rows.dtype)
        stored = at[sums != 0]
        self._fetch(stored)
        rows[sums != 0] = self._all_rows[stored]
        return rows, sums

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

    def _fetch(self, at: NDArray[np.int64]) -> None:
        """Ask for rows all at once: through the map, one waits for the disk after the other."""
        if hasattr(os, "posix_fadvise"):
            size = self._all_rows.itemsize
            for index in at.tolist():
                os.posix_fadvise(self._rows, index * size, size, os.POSIX_FADV_WILLNEED)

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


def _make(rows: Path, sums: Path, count: int, row_bytes: int) -> None:
    """Make both files; the checksums, which say whether all this is complete, last, and in full."""
    file = os.open(rows, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        os.ftruncate(file, count * row_bytes)
    finally:
        os.close(file)
    file = os.open(sums, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _write_all(file, bytes(8 * count), 0)
    finally:
        os.close(file)


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
