"""From a source of encoded images to batches of uint8 views."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.reading.reader import Reader
from lowzoo.data.source import ImageSource
from lowzoo.data.stores.stream import HEAD, StreamReader
from lowzoo.system.machine import keep_freed_memory
from lowzoo.system.shared_memory import PREFETCH, ThroughPipe, plan_workers
from lowzoo.system.signals import leave_signals_to_the_parent
from lowzoo.train.data.batches import EpochBatches, Key, SampleCounter
from lowzoo.train.data.stream import StreamBatches
from lowzoo.train.data.view_batch import Drawn, ViewBatch, ViewDrawer
from lowzoo.train.distributed.child_processes import needs_script, script_hidden
from lowzoo.train.views import ViewGroup

# Even where half of a set is broken, one image in 65,536 finds no substitute.
_SUBSTITUTES = 16

__all__ = ["EpochBatches", "SampleCounter", "ViewBatch", "ViewDataset", "check_source", "make_loader"]


class ViewDataset(Dataset[ViewBatch]):
    """Batches of views of images `index` in `epoch`.

    A broken image gives its message and the views of another one, drawn from (seed, epoch, index): every batch keeps
    its size, on every rank, which queues, compiled graphs and collective operations rely on.

    Args:
        source: Encoded images.
        groups: The views, globals first.
        seed: Random seed of the run.
        view_epochs: Global views repeat after so many epochs (for a teacher cache of that length); None is never.
        whole: Never decode a large photograph to less than its size, as with `view_epochs`: how small it may be depends
            on all views, and what a teacher cache keeps of global ones must not depend on the local ones.
        on_device: Leave the decoding of photographs to the device, see `lowzoo.train.runs.device_decoding`.
    """

    def __init__(
        self,
        source: ImageSource,
        groups: Sequence[ViewGroup],
        seed: int,
        view_epochs: int | None = None,
        *,
        whole: bool = False,
        on_device: bool = False,
    ) -> None:
        self.source = source
        self.drawer = ViewDrawer(groups, seed, view_epochs, whole, on_device)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Key) -> ViewBatch:
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[Key]) -> ViewBatch:
        """The batch of these (epoch, index) pairs, all of one epoch; torch's loader calls this."""
        return self.drawer.batch(keys, self._image, self.source.rules)

    def _image(self, key: Key, bad: list[str]) -> Drawn | None:
        epoch, wanted = key
        for index in self._candidates(epoch, wanted):
            try:
                encoded, where = self.source.encoded(index), self.source.where(index)
                return self.drawer.draw(encoded, where, self.source.rules, epoch, index)
            except BadImage as error:
                bad.append(error.message)
        return None

    def _candidates(self, epoch: int, wanted: int) -> Iterator[int]:
        yield wanted
        # Drawn, not the next in line: damage comes in runs, such as a shard.
        others = np.random.default_rng([self.drawer.seed, epoch, wanted])
        for _ in range(_SUBSTITUTES):
            yield int(others.integers(len(self.source)))


def make_loader(
    dataset: ViewDataset,
    batches: EpochBatches,
    *,
    workers: int,
    pin: bool,
    say: Callable[[str], None] | None = None,
) -> "DataLoader[ViewBatch]":
    """The loader of a run; workers use one thread each, as there is one worker a core.

    A worker's random state is never used: views are functions of (seed, epoch, index).
    """
    reader = dataset.source.reader
    settings: dict[str, Any] = {}
    feed: Dataset[ViewBatch] = dataset
    pixels = batches.micro_batch * sum(3 * group.count * group.size**2 for group in dataset.drawer.groups)
    workers, piped = plan_workers(pixels, workers, say)
    if isinstance(reader, StreamReader):
        # A worker without a shard of its own would have to read everything.
        workers = min(workers, max(1, reader.shards // batches.world_size))
        feed = StreamBatches(reader, dataset.drawer, batches, dataset.source.rules)
        settings["batch_size"] = None
        settings["multiprocessing_context"] = _clean_context() if workers else None
    else:
        settings["batch_sampler"] = batches
    if piped:
        dataset.drawer.own_memory()
    loader = _ViewLoader(
        feed,
        collate_fn=ThroughPipe if piped else _as_it_is,
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=workers > 0,
        prefetch_factor=PREFETCH if workers else None,
        worker_init_fn=_start_worker,
        **settings,
    )
    loader.reader = reader
    return loader


class _ViewLoader(DataLoader[ViewBatch]):
    """A loader whose workers do not run the script that trains, where they are no copies of its process."""

    reader: Reader | None = None

    def __iter__(self) -> Any:
        context = self.multiprocessing_context or multiprocessing
        copies = not self.num_workers or context.get_start_method() == "fork"
        with script_hidden(not copies and not needs_script(self.reader)):
            return super().__iter__()


def check_source(source: ImageSource, batch_size: int) -> None:
    """Refuse a source that cannot feed one batch, or none of whose images, tried here and there, can be read.

    Raises:
        LowzooError: Fewer images than a batch, or only broken ones.
    """
    if len(source) < batch_size:
        raise LowzooError(
            f"a batch of {batch_size} is larger than {source.name} with its {len(source)} images",
            f"Use --batch-size {len(source)} or less",
        )
    step = 1 if source.streamed else max(1, len(source) // HEAD)
    probed = range(0, min(len(source), HEAD * step), step)
    first_error = ""
    for index in probed:
        try:
            source.pixels(index)
            return
        except BadImage as error:
            first_error = first_error or error.message
    raise LowzooError(
        f"none of {len(probed)} images tried in {source.name} can be read; the first: {first_error}",
        "Name a folder of intact images",
    )


def _clean_context() -> BaseContext:
    """Start workers that inherit no thread and no lock of this process: what a stream has locked would stay locked."""
    context = multiprocessing.get_context("forkserver")
    # Imported once, by the process that the workers are forked from.
    context.set_forkserver_preload([__name__, "datasets"])
    return context


def _as_it_is(batch: Any) -> Any:
    """The loader's collation, which `ViewDataset.__getitems__` has done already; torch's types expect a list."""
    return batch


def _start_worker(_: int) -> None:
    import cv2

    leave_signals_to_the_parent()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    # Else every image of some megapixels is decoded into pages that the system has to clear and map first.
    keep_freed_memory()
