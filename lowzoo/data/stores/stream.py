"""A data set of the Hub that is read while it arrives, for those that do not fit on the disk.

A stream has no random access: its order is that of shuffled shards and a shuffled buffer, it gives no labels ahead of
the pictures, and whatever needs to pick pictures (a k-NN monitor, a fitted head, a teacher cache) cannot use it.
Every other source is read by index and is the better choice wherever it fits.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.reading.found import Found
from lowzoo.data.reading.options import DEFAULT_OPTIONS, SourceOptions
from lowzoo.data.reading.reader import Opened
from lowzoo.data.stores.huggingface import cell_bytes, image_column, library, load_splits

STREAM_PREFIX = "hf-stream:"
# Undecoded pictures that a worker mixes: 0.1 GB of ImageNet.
_BUFFER = 1000
# Rows at the beginning that can be looked at by index, to see whether the pictures can be read at all.
HEAD = 64

Cell = Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, eq=False)
class StreamReader:
    """Reads the rows of a streamed data set in its order.

    Args:
        rows: The iterable data set, reduced to one column, undecoded.
        column: Name of the column.
        name: What the set is called in messages.
        count: Number of rows.
    """

    rows: Any
    column: str
    name: str
    count: int

    def __len__(self) -> int:
        return self.count

    @property
    def shards(self) -> int:
        """Number of files that can be read independently."""
        return int(self.rows.num_shards)

    def cells(self, seed: int, epoch: int, part: int, parts: int) -> Iterator[Cell]:
        """Go through one part of an epoch, undecoded, in a shuffled order that is a function of the arguments.

        Args:
            seed: Random seed of the run.
            epoch: From 0.
            part: From 0 to `parts` - 1; together the parts are the whole set.
            parts: Where there are fewer shards than parts, every part reads everything and leaves the others' rows out.
        """
        order = np.random.default_rng([seed, epoch]).permutation(self.shards).tolist()
        own_shards = self.shards >= parts
        # The library's own shuffling reads several shards at once, in threads, and its order changes between versions.
        shards = (self.rows.shard(self.shards, shard) for shard in (order[part::parts] if own_shards else order))
        cells = chain.from_iterable(map(self._in_order, shards))
        mine = cells if own_shards else islice(cells, part, None, parts)
        yield from _mixed(mine, np.random.default_rng([seed, epoch, part]))

    def encoded(self, index: int) -> bytes:
        """Give the bytes of one of the first rows; `BadImage` where it holds none.

        Raises:
            LowzooError: It is not among the first `HEAD` rows.
        """
        if index >= HEAD:
            raise LowzooError(
                f"{self.name} is a stream, from which pictures cannot be picked",
                "Name it with hf: in place of hf-stream:, or leave out what needs to pick them",
            )
        return cell_bytes(next(islice(self._in_order(self.rows), index, None), None), self.where(index))

    def head(self) -> Iterator[bytes]:
        """Give the bytes of the first `HEAD` rows that hold any."""
        for cell in islice(self._in_order(self.rows), HEAD):
            with contextlib.suppress(BadImage):
                yield cell_bytes(cell, self.name)

    def where(self, index: int) -> str:
        """Name row `index`."""
        return f"{self.name} row {index}"

    def fingerprint(self) -> str:
        """Identify the set by its name, revision and length, and not by its content: nobody has seen the pictures yet.

        Nothing may be cached by this, as another revision may stand behind a name without one.
        """
        return sha256(f"{self.name} {self.count}".encode()).hexdigest()

    def _in_order(self, rows: Any) -> Iterator[Cell]:
        # Row by row, the library would divide the shards among torch's workers a second time.
        for group in rows.iter(batch_size=16):
            yield from group[self.column]


def _mixed(cells: Iterator[Cell], random: np.random.Generator) -> Iterator[Cell]:
    """Hand out a random one of the last `_BUFFER` cells that have not been handed out."""
    waiting: list[Cell] = []
    for cell in cells:
        if len(waiting) < _BUFFER:
            waiting.append(cell)
        else:
            chosen = int(random.integers(_BUFFER))
            yield waiting[chosen]
            waiting[chosen] = cell
    for chosen in random.permutation(len(waiting)).tolist():
        yield waiting[chosen]


def stream_splits(source_spec: str) -> tuple[str, tuple[str, ...]]:
    """Give the name of a streamed set and the names of its splits.

    Args:
        source_spec: `hf-stream:ORG/NAME[@REVISION][:CONFIG][#ROWS]`, or a folder in place of ORG/NAME.

    Raises:
        LowzooError: The library is missing, or it cannot open this.
    """
    name, _ = _name_and_rows(source_spec)
    path = Path(name).expanduser()
    return path.resolve().name if path.exists() else name, tuple(load_splits(source_spec, name, streaming=True))


def open_stream(source_spec: str, split: str, options: SourceOptions = DEFAULT_OPTIONS) -> Opened:
    """Open one split; see `stream_splits`. Labels come with the pictures, too late to be of use here.

    Raises:
        LowzooError: Its columns or its number of rows are not stated, or no column holds images.
    """
    image = library().Image
    name, stated = _name_and_rows(source_spec)
    rows = load_splits(source_spec, name, streaming=True)[split]
    if rows.features is None:
        raise LowzooError(f"{source_spec} does not state its columns", "Name it with hf: in place of hf-stream:")
    column, notes = image_column(source_spec, rows.features, options.image_column)
    splits = rows.info.splits or {}
    count = stated or (splits[split].num_examples if split in splits else 0)
    if not count:
        raise LowzooError(
            f"{source_spec} does not state its number of rows", f"Write it behind a #, as in {source_spec}#1281167"
        )
    bare = rows.select_columns([column]).cast_column(column, image(decode=False))
    return Opened(
        StreamReader(bare, column, f"{STREAM_PREFIX}{name} {split}", count), found=Found.of(count, notes=notes)
    )


def _name_and_rows(source_spec: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?P<name>[^#]+)(#(?P<rows>\d+))?", source_spec.removeprefix(STREAM_PREFIX))
    if match is None:
        raise LowzooError(
            f"{source_spec!r} names no data set", "Write hf-stream:ORG/NAME, perhaps with @REVISION and :CONFIG"
        )
    return match["name"], int(match["rows"] or 0)
