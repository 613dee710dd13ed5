"""CIFAR-100 (Krizhevsky, 2009) as distributed: `cifar-100-binary`, or `cifar-100-python` read without executing it.

A binary record is one byte of the coarse class, one of the fine class and 3,072 of the picture, plane by plane.
"""

import io
import pickle
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import ImageSource
from lowzoo.io.text_file import read_text

FOLDERS = ("cifar-100-binary", "cifar-100-python")
RECORDS = {"train": 50_000, "test": 10_000}
CLASSES = 100
_SIDE, _RECORD = 32, 2 + 3 * 32 * 32
_AGAIN = "Download and unpack the archive again"
# Everything that a pickled dictionary of one uint8 array needs; anything else is refused.
_HARMLESS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


@dataclass(frozen=True, slots=True, eq=False)
class PlanesReader:
    """Reads picture i of an array (N, 3072) uint8, and hands it out as a portable pixmap."""

    planes: NDArray[np.uint8]
    file: str

    def __len__(self) -> int:
        return len(self.planes)

    def encoded(self, index: int) -> bytes:
        """Give picture `index` as a PPM file."""
        pixels = self.planes[index].reshape(3, _SIDE, _SIDE).transpose(1, 2, 0)
        picture: bytes = b"P6 %d %d 255\n" % (_SIDE, _SIDE) + pixels.tobytes()
        return picture

    def where(self, index: int) -> str:
        """Name picture `index`."""
        return f"{self.file} record {index}"

    def fingerprint(self) -> str:
        """Digest the pictures."""
        return sha256(np.ascontiguousarray(self.planes).data).hexdigest()


def open_cifar100(root: Path, split: str) -> ImageSource:
    """Open `train` or `test` with the fine classes.

    Args:
        root: The folder that was unpacked, or the one that holds it.
        split: Which part.

    Raises:
        LowzooError: A file is missing, cut short, or not what its owners distribute.
    """
    for folder in (root, *(root / name for name in FOLDERS)):
        if (folder / f"{split}.bin").is_file():
            planes, labels = _read_binary(folder / f"{split}.bin", RECORDS[split])
            names = tuple(read_text(folder / "fine_label_names.txt", "the names of the classes", _AGAIN).split())
            return _source(folder / f"{split}.bin", split, planes, labels, names)
        if (folder / split).is_file() and (folder / "meta").exists():
            planes, labels = _read_pickle(folder / split, RECORDS[split])
            names = tuple(str(name) for name in _load(folder / "meta")["fine_label_names"])
            return _source(folder / split, split, planes, labels, names)
    raise LowzooError(
        f"CIFAR-100 is not there: no {root / FOLDERS[0] / f'{split}.bin'}", "Unpack cifar-100-binary.tar.gz"
    )


def _source(
    file: Path, split: str, planes: NDArray[np.uint8], labels: NDArray[np.int64], names: tuple[str, ...]
) -> ImageSource:
    if len(names) != CLASSES or labels.min() < 0 or labels.max() >= CLASSES:
        raise LowzooError(f"{file} is not CIFAR-100: it has other classes", _AGAIN)
    return ImageSource(f"cifar100/{split}", PlanesReader(planes, str(file)), labels, names)


def _read_binary(file: Path, records: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    data = np.fromfile(file, np.uint8)
    if len(data) != records * _RECORD:
        raise LowzooError(f"{file} has {len(data)} bytes instead of {records * _RECORD}", _AGAIN)
    table = data.reshape(records, _RECORD)
    return table[:, 2:], table[:, 1].astype(np.int64)


def _read_pickle(file: Path, records: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    found = _load(file)
    planes, labels = found.get("data"), found.get("fine_labels")
    if not isinstance(planes, np.ndarray) or planes.shape != (records, _RECORD - 2) or planes.dtype != np.uint8:
        raise LowzooError(f"{file} does not hold {records} pictures of 32 x 32", _AGAIN)
    if not isinstance(labels, list) or len(labels) != records:
        raise LowzooError(f"{file} does not hold {records} fine labels", _AGAIN)
    return planes, np.array(labels, np.int64)


def _load(file: Path) -> dict[str, Any]:
    try:
        found = _Harmless(io.BytesIO(file.read_bytes()), encoding="latin1").load()
    except OSError as error:
        raise LowzooError(f"cannot read {file}: {error.strerror}", _AGAIN) from error
    # A damaged pickle raises whatever its damaged instructions run into.
    except Exception as error:
        raise LowzooError(f"{file} is cut short or not CIFAR-100 ({error})", _AGAIN) from error
    if not isinstance(found, dict):
        raise LowzooError(f"{file} is not CIFAR-100: it holds no table", _AGAIN)
    return found


class _Harmless(pickle.Unpickler):
    """Builds arrays, lists and strings, and runs nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
