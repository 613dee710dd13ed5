"""Images through the `datasets` library: a data set of the Hub, or a folder that the library has saved.

The library keeps a set as memory-mapped Arrow files, so a row is a slice. Columns are found by their feature type, and
pictures are handed out as the bytes they are stored as.
"""

import functools
import importlib.util
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.data.labels.class_column import holds_classes, read_classes
from lowzoo.data.labels.class_numbers import Classes
from lowzoo.data.labels.columns import LABEL_NAMES, pick_image_column, pick_label_column
from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.reading.found import Found, some_of
from lowzoo.data.reading.identity import file_digests, joint_digest
from lowzoo.data.reading.options import DEFAULT_OPTIONS, SourceOptions
from lowzoo.data.reading.reader import Opened
from lowzoo.io.cache_folder import cache_folder
from lowzoo.io.hub import offline_if_unreachable

PREFIX = "hf:"
_WORD = re.compile(r"(?P<name>[^@:]+)(@(?P<revision>[^:]+))?(:(?P<config>.+))?")


@dataclass(frozen=True, slots=True, eq=False)
class DatasetReader:
    """Reads row i of one column.

    Args:
        rows: The data set, reduced to this column, undecoded.
        column: Name of the column.
        name: What the set is called in messages.
        root: The folder that relative paths in cells are relative to.
        digest: Identity of the content.
    """

    rows: Any
    column: str
    name: str
    root: str
    digest: str

    def __len__(self) -> int:
        return len(self.rows)

    def encoded(self, index: int) -> bytes:
        """Give the bytes of row `index`; `BadImage` where there are none."""
        return cell_bytes(self.rows[index][self.column], self.where(index), self.root)

    def where(self, index: int) -> str:
        """Name row `index`."""
        return f"{self.name} row {index}"

    def fingerprint(self) -> str:
        """Give the identity that `open_dataset` computed."""
        return self.digest


def cell_bytes(cell: Mapping[str, Any] | None, where: str, root: str = "") -> bytes:
    """The bytes of an undecoded picture: in the cell, or in the file that it names; `BadImage` where there are none."""
    if cell is None or (cell["bytes"] is None and not cell["path"]):
        raise BadImage(where, "the cell holds no bytes")
    if cell["bytes"] is not None:
        data: bytes = cell["bytes"]
        return data
    try:
        return Path(root, cell["path"]).read_bytes()
    except (OSError, ValueError) as error:
        raise BadImage(where, f"{cell['path']}: {getattr(error, 'strerror', None) or error}") from error


def is_saved_dataset(path: Path) -> bool:
    """Tell whether `save_to_disk` has made this folder."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def dataset_splits(source_spec: str) -> tuple[str, tuple[str, ...]]:
    """Give the name of a set and the names of its splits; ("train",) for one that is not divided.

    Args:
        source_spec: `hf:ORG/NAME[@REVISION][:CONFIG]`, `hf:FOLDER`, or a folder that the library has saved.

    Raises:
        LowzooError: The library is missing, or it cannot open this.
    """
    name = source_spec.removeprefix(PREFIX)
    path = Path(name).expanduser()
    return path.resolve().name if path.exists() else name, tuple(_load(source_spec))


def open_dataset(source_spec: str, split: str, options: SourceOptions = DEFAULT_OPTIONS) -> Opened:
    """Open one split.

    Args:
        source_spec: See `dataset_splits`.
        split: As the set spells it.
        options: Which columns.

    Raises:
        LowzooError: No column holds images, several do, or there are no rows.
    """
    datasets = library()
    rows = _load(source_spec)[split]
    if not len(rows):
        raise LowzooError(f"{source_spec} holds no rows", "Name a data set with images")
    column, notes = image_column(source_spec, rows.features, options.image_column)
    (labels, class_names), said = _labels(source_spec, rows, datasets.ClassLabel, column, options.label_column)
    bare = rows.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    folder = Path(source_spec.removeprefix(PREFIX)).expanduser()
    root = str(folder) if folder.is_dir() else ""
    named, empty = _paths(bare, column, root)
    if named:
        missing = [name for name in named if not Path(name).is_file()]
        if missing:
            said.append(f"{len(missing)} files that rows name do not exist: {some_of(missing)}")
    reader = DatasetReader(bare, column, f"{source_spec} {split}", root, _digest(rows, bare, column, named))
    found = Found.of(len(reader) - empty, {"empty cells": empty}, notes + said)
    return Opened(reader, labels, class_names, found)


def _load(source_spec: str) -> Mapping[str, Any]:
    """Every split of a set; downloaded and unpacked where it has to be."""
    path = Path(source_spec.removeprefix(PREFIX)).expanduser()
    if not path.exists():
        return _load_version(source_spec, "")
    files = (
        [str(path)]
        if path.is_file()
        else sorted(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    )
    names = "\0".join(os.path.relpath(file, path) for file in files).encode("utf-8", "surrogateescape")
    return _load_version(source_spec, joint_digest([sha256(names).digest(), *file_digests(files)]))


@functools.lru_cache(maxsize=4)
def _load_version(source_spec: str, version: str) -> Mapping[str, Any]:
    """The same for one content of a folder; the library knows its own copies by names and times of change alone."""
    path = Path(source_spec.removeprefix(PREFIX)).expanduser()
    if is_saved_dataset(path):
        saved = guarded(source_spec, lambda: library().load_from_disk(str(path)))
        return saved if isinstance(saved, Mapping) else {str(saved.split or "train"): saved}
    place = str(cache_folder("datasets") / version[:24]) if version else None
    return load_splits(source_spec, source_spec.removeprefix(PREFIX), streaming=False, place=place)


def load_splits(source_spec: str, name: str, *, streaming: bool, place: str | None = None) -> Mapping[str, Any]:
    """Every split of a set of the Hub, or of a folder that the library can read.

    Args:
        source_spec: As the user wrote it, for messages.
        name: NAME[@REVISION][:CONFIG], or a folder.
        streaming: Give iterable sets and download nothing yet.
        place: Where the library keeps what it makes of a folder; its own place where None.

    Raises:
        LowzooError: The library is missing, or it cannot open this.
    """
    match = _WORD.fullmatch(name)
    if match is None:
        raise LowzooError(
            f"{source_spec!r} names no data set", f"Write {PREFIX}ORG/NAME, perhaps with @REVISION and :CONFIG"
        )
    load = library().load_dataset
    path = Path(name).expanduser()

    def of_the_hub() -> Any:
        with offline_if_unreachable():
            return load(match["name"], match["config"], revision=match["revision"], streaming=streaming)

    def of_a_folder() -> Any:
        return load(str(path), streaming=streaming, **({"cache_dir": place} if place else {}))

    loaded: Mapping[str, Any] = guarded(source_spec, of_a_folder if path.exists() else of_the_hub)
    return loaded


def library() -> Any:
    """Import `datasets`, or say how to install it."""
    if importlib.util.find_spec("datasets") is None:
        raise LowzooError("reading a data set of the Hub needs datasets", "Run: pip install 'lowzoo[train]'")
    import datasets

    return datasets


def guarded(source_spec: str, action: Callable[[], Any]) -> Any:
    """Run `action`; what the library says about its failure becomes one line."""
    try:
        return action()
    except MemoryError:
        raise
    # Errors of the network, the Hub, Arrow and the library's own: they share no base.
    except Exception as error:
        raise LowzooError(
            f"cannot open {source_spec} through datasets: {reason_of(error).rstrip('.')}",
            "Check the name, the revision and the configuration; offline, fetch it first and set HF_HUB_OFFLINE=1",
        ) from error


def image_column(source_spec: str, features: Mapping[str, Any], wanted: str | None) -> tuple[str, list[str]]:
    """Find the column that holds images, by its feature type, and what to say.

    Raises:
        LowzooError: There is none, several and none is wanted, or the wanted one holds something else.
    """
    image = library().Image
    columns = [name for name, feature in features.items() if isinstance(feature, image)]
    plain = {name: getattr(feature, "dtype", "") for name, feature in features.items()}
    if not columns:  # a table that the library did not write itself
        columns = [
            name
            for name, feature in features.items()
            if plain[name] in ("binary", "large_binary") or (isinstance(feature, Mapping) and "bytes" in feature)
        ]
    if wanted is not None and plain.get(wanted) in ("string", "large_string", "binary", "large_binary"):
        columns.append(wanted)
    return pick_image_column(source_spec, columns, list(features), wanted)


def _labels(source_spec: str, rows: Any, label_type: type, image: str, wanted: str | None) -> tuple[Classes, list[str]]:
    """The classes: of the column of that type, of the one that is called label, or of the wanted one."""
    features = rows.features
    names = [name for name in features if name != image]
    typed = [name for name in names if isinstance(features[name], label_type)]
    by_name = [name for name in names if name.lower() in LABEL_NAMES and holds_classes(rows.data.column(name).type)]
    column, notes = pick_label_column(source_spec, names, wanted, typed or by_name)
    if column is None:
        return (None, None), notes
    cells = rows.select_columns([column]).with_format("arrow")[:].column(column)
    class_names = tuple(features[column].names) if isinstance(features[column], label_type) else None
    classes, said = read_classes(cells, column, source_spec, class_names)
    return classes, notes + said


def _paths(rows: Any, column: str, root: str) -> tuple[list[str], int]:
    """The files that cells without bytes name, in the order of the rows, and the number of cells with neither."""
    from pyarrow.compute import struct_field

    named: list[str] = []
    empty = 0
    # Bytes stay on the disk: only what marks empty cells is looked at, and the paths.
    for chunk in rows.with_format("arrow").iter(1 << 16) if rows._indices is not None else [rows.data.table]:
        cells = chunk.column(column)
        lacking = struct_field(cells, "bytes").is_null()
        paths = struct_field(cells, "path").filter(lacking).to_pylist()
        named += [os.path.join(root, path) for path in paths if path]
        empty += sum(not path for path in paths)
    return named, empty


def _digest(rows: Any, bare: Any, column: str, named: Sequence[str]) -> str:
    """Digest the Arrow files, which rows of them are used, the column, and the files that cells name."""
    files = [entry["filename"] for entry in rows.cache_files]
    digest = sha256(f"{column} {len(rows)}".encode())
    if files:
        digest.update(b"".join(file_digests(files, title="checking data set")))
        if rows._indices is not None:
            digest.update(rows._indices.column(0).to_numpy().tobytes())
    else:  # a small set that the library holds in memory
        for cell in bare[:][column]:
            digest.update(sha256((cell or {}).get("bytes") or b"").digest())
    digest.update(b"".join(file_digests(named)))
    return digest.hexdigest()
