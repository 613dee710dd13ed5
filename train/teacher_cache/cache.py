"""The exact teacher cache: what a frozen teacher says about every global view, stored once for all students.

A teacher's head ends in a fixed linear layer on a narrow bottleneck, so the bottleneck of a view in fp16 (512 B at
width 256) replaces the whole forward pass, lossless up to fp16. It belongs to one random view of one image: the view's
parameters are stored beside it and compared with those of the view that is replayed.

A folder holds `cache.json` (the identity) and two files an epoch of views, the first sparse until it is filled:

    epoch-0007.rows    (count) records: parameters (G, 13) float32, bottleneck (G, D') float16; memory-mapped to read
    epoch-0007.sums    (count) uint64: 0 where the row is missing, else the checksum of its record

A record is written before its checksum, and trusted only where the two agree: whatever is interrupted in between, by a
kill or a power cut, leaves a row that counts as missing. Rows are not written through the map, where a full disk would
end the process instead of giving an error.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowzoo.base.errors import LowzooError
from lowzoo.io.files import writable_folder
from lowzoo.train.teacher_cache.files import EpochFiles, count_filled, locked
from lowzoo.train.teacher_cache.identity import CacheIdentity, check_identity
from lowzoo.train.teacher_cache.size import cache_bytes, human
from lowzoo.train.views.params import RECORD_FIELDS


class CacheWriteError(LowzooError):
    """The disk did not take what was to be stored; everything stored before stays valid, and can be read."""


# Replayed on another CPU, a parameter may differ in its last bits; a crop that differs at all differs by 1.
_TOLERANCE = 1e-5


class TeacherCache:
    """Bottlenecks by (epoch, image index); open it with `TeacherCache.open`.

    Any number of processes may read while others fill, rows in any order; writers take turns a batch at a time.

    Args:
        folder: Folder of the cache.
        identity: What it holds.
        writable: Whether `write` is allowed.
    """

    def __init__(self, folder: Path, identity: CacheIdentity, *, writable: bool) -> None:
        self.folder, self.identity, self.writable = folder, identity, writable
        views = identity.views_per_image
        self._row = np.dtype(
            [
                ("params", np.float32, (views, len(RECORD_FIELDS))),
                ("bottleneck", np.float16, (views, identity.bottleneck)),
            ]
        )
        # Random odd weights for 16-bit words: a sum of products modulo 2^64 changes with any word.
        words = self._row.itemsize // 2
        self._weights = np.random.default_rng(0).integers(0, 2**63, words, dtype=np.uint64) * 2 + 1
        self._open_epoch: tuple[int, EpochFiles] | None = None

    @staticmethod
    def open(folder: Path, identity: CacheIdentity, create: bool = True) -> "TeacherCache":
        """Open the cache in `folder`.

        Args:
            folder: Folder of the cache.
            identity: What the caller is about to read or write.
            create: Make it if it is not there, and allow writing; False opens one that exists for reading alone.

        Raises:
            LowzooError: It holds something else (each difference is named), cannot be written to, or is not there.
        """
        folder = Path(folder)
        if create:
            writable_folder(folder)
            with locked(folder):
                check_identity(folder, identity, create=True)
        else:
            check_identity(folder, identity, create=False)
        return TeacherCache(folder, identity, writable=create)

    def missing(self, epoch: int, indices: Tensor | NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which rows are absent or damaged.

        Args:
            epoch: Epoch of the run; views repeat after `identity.view_epochs`.
            indices: (B,) of the images.

        Returns:
            (B,) True where the teacher has to be run.
        """
        rows, sums = self._load(epoch, np.asarray(indices))
        absent: NDArray[np.bool_] = sums != self._checksums(rows, np.asarray(indices))
        return absent

    def read(self, epoch: int, indices: Tensor | NDArray[np.int64], params: Tensor | NDArray[np.float32]) -> Tensor:
        """Read rows that are not missing.

        Args:
            epoch: Epoch of the run.
            indices: (B,) of the images.
            params: (B, G, 13) float32, the views that are replayed now (`ViewBatch.records`).

        Returns:
            (B, G, D') float32.

        Raises:
            LowzooError: A row is missing, or was made from another view than the one replayed.
        """
        at = np.asarray(indices)
        rows, sums = self._load(epoch, at)
        absent = sums != self._checksums(rows, at)
        if absent.any():
            raise LowzooError(
                f"the teacher cache {self.folder} holds no row for {int(absent.sum())} of {len(at)} images of epoch "
                f"{epoch}, the first is image {int(at[absent][0])}",
                "Let the teacher fill it",
            )
        self._check_views(epoch, at, rows["params"], np.asarray(params))
        return torch.from_numpy(rows["bottleneck"].astype(np.float32))

    def write(
        self,
        epoch: int,
        indices: Tensor | NDArray[np.int64],
        bottleneck: Tensor,
        params: Tensor | NDArray[np.float32],
    ) -> None:
        """Store rows; those of a failed call count as missing.

        Args:
            epoch: Epoch of the run.
            indices: (B,) of the images.
            bottleneck: (B, G, D') of any floating type, on any device.
            params: (B, G, 13) float32, the views it was computed from (`ViewBatch.records`).

        Raises:
            CacheWriteError: The disk is full, or worse.
            LowzooError: A value does not fit into fp16, or the cache was opened to be read.
        """
        if not self.writable:
            raise LowzooError(f"the teacher cache {self.folder} was opened for reading", "Open it with create=True")
        at = np.asarray(indices)
        rows = np.zeros(len(at), self._row)
        rows["params"] = np.asarray(params)
        rows["bottleneck"] = self.rounded(bottleneck).numpy()
        sums = self._checksums(rows, at)
        try:
            with locked(self.folder):
                # A row that is valid never changes: another process may be about to read it.
                new = self.missing(epoch, at)
                self._files(epoch, make=True).write(at[new], rows[new], sums[new])
        except OSError as error:
            raise CacheWriteError(*self._failed(error)) from error

    def rounded(self, bottleneck: Tensor) -> Tensor:
        """The values (..., D') as the cache holds them, in fp16 on the CPU.

        Raises:
            LowzooError: A value does not fit into fp16.
        """
        half = bottleneck.detach().half().cpu()
        if not half.isfinite().all():
            raise LowzooError(
                f"the teacher {self.identity.teacher} gives values that fp16 cannot hold", "Train without the cache"
            )
        return half

    def filled_share(self) -> float:
        """Fraction of all rows, of all epochs of views, that have been written."""
        filled = sum(count_filled(self.folder, epoch) for epoch in range(self.identity.view_epochs))
        return filled / (self.identity.count * self.identity.view_epochs)

    def __str__(self) -> str:
        identity = self.identity
        size = cache_bytes(identity.count, identity.view_epochs, identity.views_per_image, identity.bottleneck)
        return f"{self.folder}, {100 * self.filled_share():.0f}% filled, {human(size)} when full"

    def _load(self, epoch: int, at: NDArray[np.int64]) -> tuple[NDArray[np.void], NDArray[np.uint64]]:
        """Copies of records (B,) and of their stored checksums (B,), zeros where nothing is stored."""
        try:
            return self._files(epoch, make=False).read(at)
        except FileNotFoundError:
            return np.zeros(len(at), self._row), np.zeros(len(at), np.uint64)
        except OSError as error:
            raise LowzooError(*self._failed(error)) from error

    def _files(self, epoch: int, *, make: bool) -> EpochFiles:
        wanted = epoch % self.identity.view_epochs
        if self._open_epoch is not None:
            number, files = self._open_epoch
            if number == wanted:
                return files
            self._open_epoch = None
            files.close()
        files = EpochFiles(self.folder, wanted, self.identity.count, self._row, writable=self.writable, make=make)
        self._open_epoch = wanted, files
        return files

    def _failed(self, error: OSError) -> tuple[str, str]:
        return (
            f"the teacher cache {self.folder} fails: {error.strerror or error}; what it holds stays valid",
            "Free some space, or train without --teacher-cache",
        )

    def _checksums(self, rows: NDArray[np.void], at: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Checksums (B,) of records at their places, never 0."""
        words = np.ascontiguousarray(rows).view(np.uint16).reshape(len(rows), -1).astype(np.uint64)
        sums: NDArray[np.uint64] = (words @ self._weights + (at.astype(np.uint64) + 1) * self._weights[0]) | 1
        return sums

    def _check_views(
        self, epoch: int, at: NDArray[np.int64], stored: NDArray[np.float32], now: NDArray[np.float32]
    ) -> None:
        differs = ~np.isclose(stored, now, rtol=_TOLERANCE, atol=_TOLERANCE)
        if differs.any():
            image, view, field = np.argwhere(differs)[0].tolist()
            raise LowzooError(
                f"the teacher cache {self.folder} is stale: image {at[image]}, epoch {epoch}, view {view}: "
                f"{RECORD_FIELDS[field]} is {stored[image, view, field]:g} there and {now[image, view, field]:g} here",
                "Name another folder with --teacher-cache, or delete this one",
            )
