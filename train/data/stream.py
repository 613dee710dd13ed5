"""Batches from a stream: each worker follows its own part of the data and makes whole batches from it.

What a batch holds is a function of (seed, step, processes, workers): unlike every other source, a stream is divided by
shards, so another number of processes or workers mixes the images otherwise. To resume, a worker passes over what its
part has given in the epoch so far, which takes as long as it takes to fetch it. A part that has fewer images than its
share of an epoch starts again from its beginning.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from torch.utils.data import IterableDataset, get_worker_info

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.decode import BadImage, Rules
from lowzoo.data.stores.huggingface import cell_bytes
from lowzoo.data.stores.stream import Cell, StreamReader
from lowzoo.train.data.batches import EpochBatches, Key
from lowzoo.train.data.view_batch import Drawn, ViewBatch, ViewDrawer

# So many rows before the place of a resumption are kept; more broken ones in a row change what it gives.
_STAND_INS = 16


class StreamBatches(IterableDataset[ViewBatch]):
    """The (micro-)batches that `EpochBatches` counts, made from a stream.

    Args:
        reader: The stream.
        drawer: Draws the views.
        batches: Which step to begin with, and how a batch is shared out.
        rules: How images are decoded.
    """

    def __init__(self, reader: StreamReader, drawer: ViewDrawer, batches: EpochBatches, rules: Rules) -> None:
        self.reader, self.drawer, self.batches, self.rules = reader, drawer, batches, rules

    def __iter__(self) -> Iterator[ViewBatch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        batches = self.batches
        first = batches.start * batches.accumulate
        per_epoch = batches.steps_per_epoch * batches.accumulate
        # The loader asks its workers in turn, beginning with worker 0 also where a run is resumed in the middle of a
        # turn: so the part that a worker follows depends on where it begins.
        lane = (first + worker) % workers
        part, parts = batches.rank * workers + lane, batches.world_size * workers
        for epoch in range(batches.start // batches.steps_per_epoch, batches.epochs):
            mine = [number for number in range(epoch * per_epoch, (epoch + 1) * per_epoch) if number % workers == lane]
            done = sum(number < first for number in mine)
            begin, end = done * batches.micro_batch, len(mine) * batches.micro_batch
            images = _Images(self.reader, self.drawer, self._cells(epoch, part, parts), self.rules)
            images.pass_over(begin)
            for position in range(begin, end, batches.micro_batch):
                # Views are drawn for a number that no other image of the epoch has.
                keys = [(epoch, (position + i) * parts + part) for i in range(batches.micro_batch)]
                yield self.drawer.batch(keys, images.next, self.rules)

    def _cells(self, epoch: int, part: int, parts: int) -> Iterator[Cell]:
        while True:
            found = False
            for cell in self.reader.cells(self.drawer.seed, epoch, part, parts):
                found = True
                yield cell
            if not found:
                raise LowzooError(f"part {part} of {parts} of {self.reader.name} is empty", "Use fewer processes")


class _Images:
    """Decodes cell after cell; the last that could be read stands in for one that cannot be."""

    def __init__(self, reader: StreamReader, drawer: ViewDrawer, cells: Iterator[Cell], rules: Rules) -> None:
        self.reader, self.drawer, self.cells, self.rules = reader, drawer, cells, rules
        self.last: tuple[bytes, str] | None = None

    def pass_over(self, count: int) -> None:
        """Skip cells that an earlier run has used; the last of them that can be read may have to stand in for one."""
        for cell in reversed(deque(islice(self.cells, count), _STAND_INS)):
            try:
                self.last = self._encoded(cell)
                self._draw(self.last, (0, 0))
            except BadImage:
                self.last = None
            else:
                return

    def next(self, key: Key, bad: list[str]) -> Drawn | None:
        try:
            encoded = self._encoded(next(self.cells))
            drawn = self._draw(encoded, key)
        except BadImage as error:
            bad.append(error.message)
            return None if self.last is None else self._draw(self.last, key)
        self.last = encoded
        return drawn

    def _draw(self, encoded: tuple[bytes, str], key: Key) -> Drawn:
        data, where = encoded
        return self.drawer.draw(data, where, self.rules, *key)

    def _encoded(self, cell: Cell) -> tuple[bytes, str]:
        where = f"{self.reader.name}: {(cell or {}).get('path') or 'a row without a name'}"
        return cell_bytes(cell, where), where
