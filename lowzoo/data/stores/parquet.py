"""Images in parquet files, as the `datasets` library writes them.

Parquet has no random access to a row: reading one means decompressing its row group. The image column is therefore
copied once, uncompressed, into an Arrow file in the cache and memory-mapped: a row is a slice, all data workers share
the same pages, and a set larger than memory works.
"""

import functools
import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowzoo.data.cache import cache_folder
from lowzoo.data.decode import BadImage
from lowzoo.data.found import Found
from lowzoo.data.identity import file_digests, joint_digest
from lowzoo.data.progress import progress_bar
from lowzoo.data.reader import Opened
from lowzoo.errors import LowzooError, reason_of
from lowzoo.files import atomic_path


@dataclass(frozen=True, slots=True)
class ParquetReader:
    """Reads row i of the memory-mapped copy of the image column.

    Args:
        files: The parquet files in order.
        rows: Rows of each.
        digest: Identity of the content; names the copy in the cache.
    """

    files: tuple[str, ...]
    rows: tuple[int, ...]
    digest: str

    def __len__(self) -> int:
        return sum(self.rows)

    def encoded(self, index: int) -> bytes:
        """Give the bytes of row `index`; `BadImage` where the cell is null."""
        batches, ends = _open_copy(str(_copy_path(self.digest)))
        batch = bisect_right(ends, index)
        cell = batches[batch][index - (ends[batch - 1] if batch else 0)].as_py()
        if cell is None:
            raise BadImage(self.where(index), "the cell holds no bytes")
        data: bytes = cell
        return data

    def where(self, index: int) -> str:
        """Name row `index` by its file and the row in it."""
        for file, rows in zip(self.files, self.rows, strict=True):
            if index < rows:
                return f"{file} row {index}"
            index -= rows
        raise IndexError(index)

    def fingerprint(self) -> str:
        """Give the identity that `open_parquet` computed."""
        return self.digest


def open_parquet(files: Iterable[Path]) -> Opened:
    """Open parquet files with a column `image` (struct of bytes and path, or binary) and perhaps a column `label`.

    Integer labels take their names from the Hugging Face metadata where present, text labels are numbered in sorted
    order, an empty cell is -1, and a set whose labels are all negative (a hidden test set) has none.

    Raises:
        LowzooError: pyarrow is missing, a file is no parquet file, or a column is missing or of another type.
    """
    paths = [Path(file) for file in files]
    _pyarrow()
    import pyarrow.parquet as parquet

    opened = [_guard(path, lambda path=path: parquet.ParquetFile(path, memory_map=True)) for path in paths]
    for path, file in zip(paths, opened, strict=True):
        _check_image_column(path, file.schema_arrow)
    labels, class_names = _read_labels(paths, opened)
    digest = joint_digest(file_digests([str(path) for path in paths], title="checking parquet"))
    rows = tuple(file.metadata.num_rows for file in opened)
    if sum(rows) == 0:
        raise LowzooError(f"{paths[0]} holds no rows", "Name a parquet file with images")
    copy = _copy_path(digest)
    if not _is_whole(copy, sum(rows)):
        _guard(paths[0], lambda: _write_copy(opened, copy, sum(rows)))
    return Opened(ParquetReader(tuple(map(str, paths)), rows, digest), labels, class_names, Found.of(sum(rows)))


def holds_images(path: Path) -> bool:
    """Tell whether a parquet file has a column with pictures."""
    _pyarrow()
    import pyarrow.parquet as parquet

    return "image" in _guard(path, lambda: parquet.read_schema(path)).names


def _pyarrow() -> ModuleType:
    try:
        import pyarrow
    except ImportError as error:
        raise LowzooError("reading parquet needs pyarrow", "Run: pip install 'lowzoo[train]'") from error
    module: ModuleType = pyarrow
    return module


def _guard(path: Path, action: Any) -> Any:
    """Run `action`; what pyarrow says about a broken file becomes one line."""
    pyarrow = _pyarrow()
    try:
        return action()
    except (pyarrow.ArrowException, OSError) as error:
        raise LowzooError(
            f"cannot read {path} as parquet: {reason_of(error)}", "Name a complete parquet file"
        ) from error


def _check_image_column(path: Path, schema: Any) -> None:
    pyarrow = _pyarrow()
    if "image" not in schema.names:
        raise LowzooError(
            f"{path} has no column 'image', only: {', '.join(schema.names)}", "Rename the column with the pictures"
        )
    kind = schema.field("image").type
    if pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)):
        raise LowzooError(
            f"the column 'image' of {path} is {kind}, not encoded bytes", "Store JPEG, PNG or WebP bytes in it"
        )


def _read_labels(paths: list[Path], opened: list[Any]) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    pyarrow = _pyarrow()
    have = ["label" in file.schema_arrow.names for file in opened]
    if not all(have):
        if any(have):
            raise LowzooError(
                f"some files beside {paths[0]} have a column 'label' and some have none", "Make their columns equal"
            )
        return None, None
    column = pyarrow.chunked_array(
        [
            chunk
            for path, file in zip(paths, opened, strict=True)
            for chunk in _guard(path, lambda file=file: file.read(columns=["label"])).column("label").chunks
        ]
    )
    if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type):
        return _numbered(np.array(column.fill_null("").to_pylist(), dtype=str))
    if not pyarrow.types.is_integer(column.type):
        raise LowzooError(
            f"the column 'label' of {paths[0]} is {column.type}", "Store one whole number or text a picture"
        )
    labels: NDArray[np.int64] = column.fill_null(-1).to_numpy().astype(np.int64)
    if len(labels) and labels.max() < 0:
        return None, None
    return labels, _class_names(opened[0].schema_arrow.metadata)


def _numbered(texts: NDArray[np.str_]) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Text labels (N,) as numbers in sorted order, -1 for an empty one, and their names."""
    given = texts != ""
    if len(texts) and not given.any():
        return None, None
    names, numbers = np.unique(texts[given], return_inverse=True)
    labels = np.full(len(texts), -1, np.int64)
    labels[given] = numbers
    return labels, tuple(map(str, names))


def _class_names(metadata: dict[bytes, bytes] | None) -> tuple[str, ...] | None:
    try:
        names = json.loads((metadata or {})[b"huggingface"])["info"]["features"]["label"]["names"]
        return tuple(map(str, names))
    except (KeyError, ValueError, TypeError):
        return None


def _copy_path(digest: str) -> Path:
    return cache_folder("parquet") / f"{digest[:16]}.arrow"


def _is_whole(copy: Path, rows: int) -> bool:
    if not copy.is_file():
        return False
    try:
        return _open_copy(str(copy))[1][-1] == rows
    except (_pyarrow().ArrowException, OSError, IndexError):
        return False


def _write_copy(opened: list[Any], copy: Path, rows: int) -> None:
    try:
        _copy_images(opened, copy, rows)
    except LowzooError as error:
        raise LowzooError(
            f"cannot keep the images of a parquet file uncompressed: {error.message}",
            "Free some space or set LOWZOO_CACHE to a folder that has some",
        ) from error
    _open_copy.cache_clear()


def _copy_images(opened: list[Any], copy: Path, rows: int) -> None:
    pyarrow = _pyarrow()
    from pyarrow.compute import struct_field

    schema = pyarrow.schema([("bytes", pyarrow.large_binary())])
    with (
        atomic_path(copy) as temporary,
        pyarrow.OSFile(str(temporary), "wb") as sink,
        pyarrow.ipc.new_file(sink, schema) as writer,
        progress_bar("unpacking parquet", rows) as advance,
    ):
        for file in opened:
            for batch in file.iter_batches(batch_size=1024, columns=["image"]):
                column = batch.column(0)
                if pyarrow.types.is_struct(column.type):
                    column = struct_field(column, "bytes")
                writer.write_batch(pyarrow.record_batch([column.cast(pyarrow.large_binary())], schema=schema))
                advance(len(column))


@functools.lru_cache(maxsize=8)
def _open_copy(path: str) -> tuple[list[Any], list[int]]:
    """Map the copy: the columns of its batches and where each ends. Cached a process; mapped pages survive a fork."""
    pyarrow = _pyarrow()
    reader = pyarrow.ipc.open_file(pyarrow.memory_map(path))
    batches = [reader.get_batch(i).column(0) for i in range(reader.num_record_batches)]
    return batches, list(accumulate(len(batch) for batch in batches))
