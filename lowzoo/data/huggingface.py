"""Images through the `datasets` library: a data set of the Hub, or a folder that the library has saved.

The library keeps a set as memory-mapped Arrow files, so a row is a slice. Columns are found by their feature type, and
pictures are handed out as the bytes they are stored as.
"""

import functools
import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowzoo.data.decode import BadImage
from lowzoo.errors import LowzooError, reason_of
from lowzoo.hub import offline_if_unreachable

PREFIX = "hf:"
_WORD = re.compile(r"(?P<name>[^@:]+)(@(?P<revision>[^:]+))?(:(?P<config>.+))?")
_DIGESTED_ROWS = 64


@dataclass(frozen=True, slots=True, eq=False)
class DatasetReader:
    """Reads row i of one column.

    Args:
        rows: The data set, reduced to this column, undecoded.
        column: Name of the column.
        name: What the set is called in messages.
        digest: Identity of the content.
    """

    rows: Any
    column: str
    name: str
    digest: str

    def __len__(self) -> int:
        return len(self.rows)

    def encoded(self, index: int) -> bytes:
        """Give the bytes of row `index`; `BadImage` where there are none."""
        return cell_bytes(self.rows[index][self.column], self.where(index))

    def where(self, index: int) -> str:
        """Name row `index`."""
        return f"{self.name} row {index}"

    def fingerprint(self) -> str:
        """Give the identity that `open_dataset` computed."""
        return self.digest


def cell_bytes(cell: Mapping[str, Any] | None, where: str) -> bytes:
    """The bytes of an undecoded picture: in the cell, or in the file that it names; `BadImage` where there are none."""
    if cell is None or (cell["bytes"] is None and not cell["path"]):
        raise BadImage(where, "the cell holds no bytes")
    if cell["bytes"] is not None:
        data: bytes = cell["bytes"]
        return data
    try:
        return Path(cell["path"]).read_bytes()
    except OSError as error:
        raise BadImage(where, f"{cell['path']}: {error.strerror}") from error


def is_saved_dataset(path: Path) -> bool:
    """Tell whether `save_to_disk` has made this folder."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def dataset_splits(word: str) -> tuple[str, tuple[str, ...]]:
    """Give the name of a set and the names of its splits; ("train",) for one that is not divided.

    Args:
        word: `hf:ORG/NAME[@REVISION][:CONFIG]`, `hf:FOLDER`, or a folder that the library has saved.

    Raises:
        LowzooError: The library is missing, or it cannot open this.
    """
    name = word.removeprefix(PREFIX)
    path = Path(name).expanduser()
    return path.resolve().name if path.exists() else name, tuple(_load(word))


def open_dataset(word: str, split: str) -> tuple[DatasetReader, NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Open one split.

    Args:
        word: See `dataset_splits`.
        split: As the set spells it.

    Returns:
        The reader, labels (N,) or None, class names or None.

    Raises:
        LowzooError: No column holds images, several do, or there are no rows.
    """
    datasets = library()
    rows = _load(word)[split]
    if not len(rows):
        raise LowzooError(f"{word} holds no rows", "Name a data set with images")
    column = image_column(word, rows.features, datasets.Image)
    labels, class_names = _labels(rows, datasets.ClassLabel)
    bare = rows.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    reader = DatasetReader(bare, column, f"{word} {split}", _digest(bare, column, labels))
    return reader, labels, class_names


@functools.lru_cache(maxsize=4)
def _load(word: str) -> Mapping[str, Any]:
    """Every split of a set; downloaded and unpacked where it has to be."""
    path = Path(word.removeprefix(PREFIX)).expanduser()
    if is_saved_dataset(path):
        saved = guarded(word, lambda: library().load_from_disk(str(path)))
        return saved if isinstance(saved, Mapping) else {str(saved.split or "train"): saved}
    return load_splits(word, word.removeprefix(PREFIX), streaming=False)


def load_splits(word: str, name: str, *, streaming: bool) -> Mapping[str, Any]:
    """Every split of a set of the Hub, or of a folder that the library can read.

    Args:
        word: As the user wrote it, for messages.
        name: NAME[@REVISION][:CONFIG], or a folder.
        streaming: Give iterable sets and download nothing yet.

    Raises:
        LowzooError: The library is missing, or it cannot open this.
    """
    match = _WORD.fullmatch(name)
    if match is None:
        raise LowzooError(f"{word!r} names no data set", f"Write {PREFIX}ORG/NAME, perhaps with @REVISION and :CONFIG")
    load = library().load_dataset
    path = Path(name).expanduser()

    def of_the_hub() -> Any:
        with offline_if_unreachable():
            return load(match["name"], match["config"], revision=match["revision"], streaming=streaming)

    loaded: Mapping[str, Any] = guarded(
        word, lambda: load(str(path), streaming=streaming) if path.exists() else of_the_hub()
    )
    return loaded


def library() -> Any:
    """Import `datasets`, or say how to install it."""
    if importlib.util.find_spec("datasets") is None:
        raise LowzooError("reading a data set of the Hub needs datasets", "Run: pip install 'lowzoo[train]'")
    import datasets

    return datasets


def guarded(word: str, action: Callable[[], Any]) -> Any:
    """Run `action`; what the library says about its failure becomes one line."""
    try:
        return action()
    except MemoryError:
        raise
    # Errors of the network, the Hub, Arrow and the library's own: they share no base.
    except Exception as error:
        raise LowzooError(
            f"cannot open {word} through datasets: {reason_of(error).rstrip('.')}",
            "Check the name, the revision and the configuration; offline, fetch it first and set HF_HUB_OFFLINE=1",
        ) from error


def image_column(word: str, features: Mapping[str, Any], image_type: type) -> str:
    """Find the one column that holds images, by its feature type.

    Raises:
        LowzooError: There is none, or there are several and none is called image.
    """
    columns = [name for name, feature in features.items() if isinstance(feature, image_type)]
    if not columns:
        raise LowzooError(
            f"no column of {word} holds images, only: {', '.join(features)}", "Name a data set of pictures"
        )
    preferred = [name for name in columns if name in ("image", "img")] or columns
    if len(preferred) > 1:
        raise LowzooError(
            f"several columns of {word} hold images: {', '.join(columns)}", "Rename the one that is meant to 'image'"
        )
    return preferred[0]


def _labels(rows: Any, label_type: type) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    """The labels of the column of classes: the first such column, or the one that is called label."""
    columns = [name for name, feature in rows.features.items() if isinstance(feature, label_type)]
    if not columns:
        return None, None
    column = "label" if "label" in columns else columns[0]
    cells = rows.select_columns([column]).with_format("arrow")[:].column(column)
    labels: NDArray[np.int64] = cells.fill_null(-1).to_numpy().astype(np.int64)
    if labels.max() < 0:
        return None, None
    return labels, tuple(rows.features[column].names)


def _digest(rows: Any, column: str, labels: NDArray[np.int64] | None) -> str:
    """Digest all labels, the number of rows and 64 evenly spaced pictures, equal wherever the set was fetched."""
    digest = sha256(f"{len(rows)}".encode() if labels is None else labels.tobytes())
    reader = DatasetReader(rows, column, "", "")
    for row in np.linspace(0, len(rows) - 1, min(len(rows), _DIGESTED_ROWS)).astype(int).tolist():
        try:
            digest.update(reader.encoded(row))
        except BadImage:
            digest.update(b"-")
    return digest.hexdigest()
