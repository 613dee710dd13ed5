"""Images in parquet files: encoded bytes as the `datasets` library writes them, or paths of files.

Parquet has no random access to a row: reading one means decompressing its row group. The image column is therefore
copied once, uncompressed, into an Arrow file in the cache and memory-mapped: a row is a slice, all data workers share
the same pages, and a set larger than memory works.
"""

import functools
import json
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.progress import progress_bar
from lowzoo.data.labels.class_column import holds_classes, read_classes
from lowzoo.data.labels.class_numbers import Classes
from lowzoo.data.labels.columns import LABEL_NAMES, PATH_NAMES, pick_image_column, pick_label_column
from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.reading.found import Found, some_of
from lowzoo.data.reading.identity import file_digests, joint_digest
from lowzoo.data.reading.options import DEFAULT_OPTIONS, SourceOptions
from lowzoo.data.reading.reader import Opened
from lowzoo.io import marks
from lowzoo.io.cache_folder import cache_folder
from lowzoo.io.files import atomic_path

# Changes when a change of the rules changes what is copied.
_VERSION = "copy 2"


@dataclass(frozen=True)
class ParquetReader:
    """Reads row i of the memory-mapped copy of the image column.

    Args:
        files: The parquet files in order.
        rows: Rows of each.
        digest: Identity of the files and the column; names the copy in the cache.
        paths: Whether some rows hold a path in place of bytes.
    """

    files: tuple[str, ...]
    rows: tuple[int, ...]
    digest: str
    paths: bool = False

    def __len__(self) -> int:
        return sum(self.rows)

    def encoded(self, index: int) -> bytes:
        """Give the bytes of row `index`, or of the file that it names; `BadImage` where there are none."""
        copy = _open_copy(str(_copy_path(self.digest)))
        batch = bisect_right(copy.ends, index)
        at = index - (copy.ends[batch - 1] if batch else 0)
        cell = copy.cells[batch][at].as_py()
        if cell is not None:
            data: bytes = cell
            return data
        path = copy.paths[batch][at].as_py()
        if path is None:
            raise BadImage(self.where(index), "the cell holds no bytes")
        file = _place(self._file(index)[0], path)
        try:
            with open(file, "rb") as opened:
                return opened.read()
        except (OSError, ValueError) as error:
            raise BadImage(self.where(index), f"{file}: {getattr(error, 'strerror', None) or error}") from error

    def where(self, index: int) -> str:
        """Name row `index` by its file and the row in it."""
        file, row = self._file(index)
        return f"{file} row {row}"

    def named_files(self) -> Iterator[str]:
        """The files that rows without bytes name, in the order of the rows."""
        copy = _open_copy(str(_copy_path(self.digest)))
        start = 0
        for paths in copy.paths:
            if paths.null_count < len(paths):
                for i, path in enumerate(paths.to_pylist()):
                    if path is not None:
                        yield _place(self._file(start + i)[0], path)
            start += len(paths)

    def empty_cells(self) -> int:
        """The number of rows with neither bytes nor a path."""
        copy = _open_copy(str(_copy_path(self.digest)))
        lacking = sum(cells.null_count for cells in copy.cells)
        return int(lacking - sum(len(paths) - paths.null_count for paths in copy.paths))

    @cached_property
    def _identity(self) -> str:
        if not self.paths:
            return self.digest
        return joint_digest([bytes.fromhex(self.digest), *file_digests(list(self.named_files()))])

    def fingerprint(self) -> str:
        """Digest the content of the files, and of those that they name."""
        return self._identity

    def _file(self, index: int) -> tuple[str, int]:
        for file, rows in zip(self.files, self.rows, strict=True):
            if index < rows:
                return file, index
            index -= rows
        raise IndexError(index)


def open_parquet(files: Iterable[Path], options: SourceOptions = DEFAULT_OPTIONS) -> Opened:
    """Open parquet files with a column of pictures (struct of bytes and path, bytes, or paths) and perhaps of classes.

    Integer labels take their names from the Hugging Face metadata where present, text labels are numbered in sorted
    order, an empty cell is -1, and a set whose labels are all negative (a hidden test set) has none.

    Raises:
        LowzooError: pyarrow is missing, a file is no parquet file, or a column is missing or of another type.
    """
    paths = [Path(file) for file in files]
    _pyarrow()
    import pyarrow.parquet as parquet

    own = [path for path in paths if marks.is_own_table(path)]
    if own:
        raise LowzooError(f"{own[0]} was written by lowzoo embed and holds features, no images", "Name the images")
    opened = [_guard(path, lambda path=path: parquet.ParquetFile(path, memory_map=True)) for path in paths]
    rows = tuple(file.metadata.num_rows for file in opened)
    column, notes = _image_column(paths, [file.schema_arrow for file in opened], options.image_column)
    (labels, class_names), said = _read_labels(paths, opened, column, options.label_column)
    notes += said
    if sum(rows) == 0:
        raise LowzooError(f"{paths[0]} holds no rows", "Name a parquet file with images")
    content = joint_digest(file_digests([str(path) for path in paths], title="checking parquet"))
    digest = sha256(f"{_VERSION} {content} {column}".encode()).hexdigest()
    copy = _copy_path(digest)
    if not _is_whole(copy, sum(rows)):
        _guard(paths[0], lambda: _write_copy(opened, column, copy, sum(rows)))
    reader = ParquetReader(tuple(map(str, paths)), rows, digest)
    named = list(reader.named_files())
    if named:
        reader = replace(reader, paths=True)
        notes += _check_named(paths[0], column, named, sum(rows))
    empty = reader.empty_cells()
    found = Found.of(sum(rows) - empty, {"empty cells": empty}, notes)
    return Opened(reader, labels, class_names, found)


def holds_images(path: Path, image_column: str | None = None) -> bool:
    """Tell whether a parquet file has a column with encoded pictures, or the one that the user names."""
    _pyarrow()
    import pyarrow.parquet as parquet

    schema = _guard(path, lambda: parquet.read_schema(path))
    return image_column in schema.names if image_column else bool(_encoded_columns(schema))


def is_readable(path: Path) -> bool:
    """Tell whether a file is a complete parquet file."""
    try:
        holds_images(path)
    except LowzooError:
        return False
    return True


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


def _is_text(kind: Any) -> bool:
    types = _pyarrow().types
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _is_encoded(kind: Any) -> bool:
    types = _pyarrow().types
    if types.is_struct(kind):
        fields = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
        if "bytes" in fields:
            return bool(types.is_null(fields["bytes"])) or _is_encoded(fields["bytes"])
        return "path" in fields and _is_text(fields["path"])
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _encoded_columns(schema: Any) -> list[str]:
    return [field.name for field in schema if _is_encoded(field.type)]


def _image_column(paths: list[Path], schemas: list[Any], wanted: str | None) -> tuple[str, list[str]]:
    schema = schemas[0]
    candidates = _encoded_columns(schema)
    texts = [field.name for field in schema if _is_text(field.type)]
    if wanted in texts:
        candidates = [*candidates, str(wanted)]
    elif not candidates:
        candidates = [name for name in texts if name.lower() in PATH_NAMES]
    if wanted is None and "image" in schema.names and "image" not in candidates:
        raise LowzooError(
            f"the column 'image' of {paths[0]} is {schema.field('image').type}, not encoded bytes",
            "Store JPEG, PNG or WebP bytes in it, or choose another column by --image-column",
        )
    column, notes = pick_image_column(str(paths[0]), candidates, schema.names, wanted)
    for path, other in zip(paths, schemas, strict=True):
        if column not in other.names or not (
            _is_encoded(other.field(column).type) or _is_text(other.field(column).type)
        ):
            raise LowzooError(
                f"{path} has no pictures in a column {column!r}, as {paths[0]} has", "Make their columns equal"
            )
    return column, notes


def _check_named(path: Path, column: str, named: list[str], rows: int) -> list[str]:
    if any("://" in name for name in named):
        raise LowzooError(
            f"the column {column!r} of {path} holds addresses, not pictures", "Fetch the pictures and name their files"
        )
    missing = [name for name in named if not _exists(name)]
    if len(missing) == rows:
        raise LowzooError(
            f"the column {column!r} of {path} holds paths and no pictures, and none of the {rows} files exists: "
            f"{some_of(missing)}",
            "Put the pictures beside the table, at these paths relative to it",
        )
    notes = [f"{len(named)} of {rows} rows hold a path and no bytes; paths are relative to the parquet file"]
    if missing:
        notes.append(f"{len(missing)} files that rows name do not exist: {some_of(missing)}")
    return notes


def _exists(path: str) -> bool:
    try:
        return os.path.isfile(path)
    except ValueError:
        return False


def _place(table: str, path: str) -> str:
    """The file that a row of a table names."""
    return os.path.normpath(os.path.join(os.path.dirname(table), path)) if "://" not in path else path


def _read_labels(paths: list[Path], opened: list[Any], image: str, wanted: str | None) -> tuple[Classes, list[str]]:
    schemas = [file.schema_arrow for file in opened]
    names = list(dict.fromkeys(name for schema in schemas for name in schema.names if name != image))
    candidates = [
        name
        for name in names
        if name.lower() in LABEL_NAMES
        and all(name not in s.names or holds_classes(s.field(name).type) for s in schemas)
    ]
    column, notes = pick_label_column(
        str(paths[0]), names, wanted, [*candidates, *(["label"] if "label" in names else [])]
    )
    if column is None:
        return (None, None), notes
    if not all(column in schema.names for schema in schemas):
        raise LowzooError(
            f"some files beside {paths[0]} have a column {column!r} and some have none", "Make their columns equal"
        )
    class_names = [_class_names(schema.metadata, column) for schema in schemas]
    if len(set(class_names)) > 1:
        raise LowzooError(f"files beside {paths[0]} number different classes", "Write them with the same names")
    pyarrow = _pyarrow()
    tables = [
        _guard(path, lambda file=file: file.read(columns=[column])).column(column)
        for path, file in zip(paths, opened, strict=True)
    ]
    try:
        cells = pyarrow.chunked_array([chunk for table in tables for chunk in table.chunks], type=tables[0].type)
    except (pyarrow.ArrowException, TypeError) as error:
        raise LowzooError(
            f"the column {column!r} has several types in the files beside {paths[0]}", "Make their columns equal"
        ) from error
    classes, said = read_classes(cells, column, str(paths[0]), class_names[0])
    return classes, notes + said


def _class_names(metadata: dict[bytes, bytes] | None, column: str) -> tuple[str, ...] | None:
    try:
        names = json.loads((metadata or {})[b"huggingface"])["info"]["features"][column]["names"]
        return tuple(map(str, names))
    except (KeyError, ValueError, TypeError):
        return None


def _copy_path(digest: str) -> Path:
    return cache_folder("parquet") / f"{digest[:16]}.arrow"


def _is_whole(copy: Path, rows: int) -> bool:
    if not copy.is_file():
        return False
    try:
        return _open_copy(str(copy)).ends[-1] == rows
    except (_pyarrow().ArrowException, OSError, IndexError):
        return False


def _write_copy(opened: list[Any], column: str, copy: Path, rows: int) -> None:
    try:
        _copy_images(opened, column, copy, rows)
    except LowzooError as error:
        raise LowzooError(
            f"cannot keep the images of a parquet file uncompressed: {error.message}",
            "Free some space or set LOWZOO_CACHE to a folder that has some",
        ) from error
    _open_copy.cache_clear()


def _copy_images(opened: list[Any], name: str, copy: Path, rows: int) -> None:
    pyarrow = _pyarrow()
    schema = pyarrow.schema([("bytes", pyarrow.large_binary()), ("path", pyarrow.large_string())])
    with (
        atomic_path(copy) as temporary,
        pyarrow.OSFile(str(temporary), "wb") as sink,
        pyarrow.ipc.new_file(sink, schema) as writer,
        progress_bar("unpacking parquet", rows) as advance,
    ):
        for file in opened:
            for batch in file.iter_batches(batch_size=1024, columns=[name]):
                writer.write_batch(pyarrow.record_batch(_bytes_and_paths(batch.column(0)), schema=schema))
                advance(len(batch))


def _bytes_and_paths(column: Any) -> list[Any]:
    """The cells' bytes, and the paths of those that have none."""
    pyarrow = _pyarrow()
    from pyarrow.compute import equal, if_else, or_, struct_field

    data, text = pyarrow.large_binary(), pyarrow.large_string()
    cells, paths = pyarrow.nulls(len(column), data), pyarrow.nulls(len(column), text)
    if pyarrow.types.is_struct(column.type):
        fields = {column.type.field(i).name for i in range(column.type.num_fields)}
        if "bytes" in fields:
            cells = struct_field(column, "bytes").cast(data)
        if "path" in fields:
            paths = struct_field(column, "path").cast(text)
    elif _is_text(column.type):
        paths = column.cast(text)
    else:
        cells = column.cast(pyarrow.binary()).cast(data) if column.type != data else column
    needless = or_(cells.is_valid(), equal(paths.fill_null(""), ""))
    return [cells, if_else(needless, pyarrow.scalar(None, text), paths)]


@dataclass(frozen=True, slots=True)
class _Copy:
    """Bytes and paths of each batch, and where each batch ends."""

    cells: list[Any]
    paths: list[Any]
    ends: list[int]


@functools.lru_cache(maxsize=8)
def _open_copy(path: str) -> _Copy:
    """Map the copy. Cached a process; mapped pages survive a fork."""
    pyarrow = _pyarrow()
    reader = pyarrow.ipc.open_file(pyarrow.memory_map(path))
    batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
    return _Copy(
        [batch.column(0) for batch in batches],
        [batch.column(1) for batch in batches],
        list(accumulate(len(batch) for batch in batches)),
    )
