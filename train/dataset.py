"""From a source of encoded images to batches of uint8 views."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from lowzoo.data.decode import BadImage, decode_rgb
from lowzoo.data.source import ImageSource
from lowzoo.errors import LowzooError
from lowzoo.train.batches import EpochBatches, Key, SampleCounter
from lowzoo.train.views import ViewGroup, ViewParams, sample_params
from lowzoo.train.views.crops import crop_into

_PROBED = 64
# Even where half of a set is broken, one image in 65,536 finds no substitute.
_SUBSTITUTES = 16

__all__ = ["EpochBatches", "SampleCounter", "ViewBatch", "ViewDataset", "check_source", "make_loader"]


@dataclass(frozen=True, slots=True)
class ViewBatch:
    """The views of one batch (of one micro-batch, where gradients are accumulated).

    Args:
        crops: One uint8 tensor (B, count, 3, S, S) a group.
        photometric: (B, V, 8) float32, see `ViewParams`.
        bad: A message for each image that could not be read; another one stands in its place.
        epoch: That the views were drawn for.
        indices: (B,) int64, the images in their source.
        records: (B, G, 13) float32, what the G global views are made of, see `ViewParams.record`.
        seen: Images that were asked for.
    """

    crops: list[Tensor]
    photometric: Tensor
    bad: list[str]
    epoch: int
    indices: Tensor
    records: Tensor
    seen: int

    def __len__(self) -> int:
        return len(self.photometric)

    def pin_memory(self) -> "ViewBatch":
        """The pixels in page-locked memory; the loader calls this, as it does not look into a class by itself."""
        return replace(self, crops=[crops.pin_memory() for crops in self.crops])


class ViewDataset(Dataset[ViewBatch]):
    """Batches of views of images `index` in `epoch`.

    A broken image gives its message and the views of another one, drawn from (seed, epoch, index): every batch keeps
    its size, on every rank, which queues, compiled graphs and collective operations rely on.

    Args:
        source: Encoded images.
        groups: The views, globals first.
        seed: Of the run.
        view_epochs: Global views repeat after so many epochs (for a teacher cache of that length); None is never.
    """

    def __init__(
        self, source: ImageSource, groups: Sequence[ViewGroup], seed: int, view_epochs: int | None = None
    ) -> None:
        self.source = source
        self.groups = tuple(groups)
        self.seed = seed
        self.view_epochs = view_epochs
        self._global = np.repeat([group.name == "global" for group in groups], [group.count for group in groups])

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Key) -> ViewBatch:
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[Key]) -> ViewBatch:
        """The batch of these (epoch, index) pairs, all of one epoch; torch's loader calls this."""
        # Crops go where they will be read: a tensor an image and their collation cost a quarter of a worker's time,
        # most of it in page faults.
        crops = [_pixels((len(keys), group.count, 3, group.size, group.size)) for group in self.groups]
        bad: list[str] = []
        drawn: list[tuple[int, ViewParams]] = []
        for key in keys:
            found = self._draw(key, [views[len(drawn)] for views in crops], bad)
            if found is not None:
                drawn.append(found)
        return ViewBatch(
            crops=[views[: len(drawn)] for views in crops] if drawn else [],
            photometric=_stack([params.photometric for _, params in drawn]),
            bad=bad,
            epoch=keys[0][0],
            indices=torch.tensor([index for index, _ in drawn], dtype=torch.int64),
            records=_stack([params.record()[self._global] for _, params in drawn]),
            seen=len(keys),
        )

    def _draw(self, key: Key, out: list[Tensor], bad: list[str]) -> tuple[int, ViewParams] | None:
        """Fill `out` with the views of an image, and tell which one it was; None where none could be read."""
        epoch, wanted = key
        for index in self._candidates(epoch, wanted):
            try:
                image = decode_rgb(self.source.encoded(index), self.source.where(index))
            except BadImage as error:
                bad.append(error.message)
                continue
            params = sample_params(self.groups, self.seed, epoch, index, *image.shape[:2], view_epochs=self.view_epochs)
            crop_into(out, image, params, self.groups)
            return index, params
        return None

    def _candidates(self, epoch: int, wanted: int) -> Iterator[int]:
        yield wanted
        # Drawn, not the next in line: damage comes in runs, such as a shard.
        others = np.random.default_rng([self.seed, epoch, wanted])
        for _ in range(_SUBSTITUTES):
            yield int(others.integers(len(self.source)))


def make_loader(dataset: ViewDataset, batches: EpochBatches, *, workers: int, pin: bool) -> "DataLoader[ViewBatch]":
    """The loader of a run; workers use one thread each, as there is one worker a core.

    A worker's random state is never used: views are functions of (seed, epoch, index).
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=_as_it_is,
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread,
    )


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
    step = max(1, len(source) // _PROBED)
    probed = range(0, len(source), step)
    first_error = ""
    for index in probed:
        try:
            decode_rgb(source.encoded(index), source.where(index))
            return
        except BadImage as error:
            first_error = first_error or error.message
    raise LowzooError(
        f"none of {len(probed)} images tried in {source.name} can be read; the first: {first_error}",
        "Name a folder of intact images",
    )


def _stack(rows: list[NDArray[np.float32]]) -> Tensor:
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0)


def _as_it_is(batch: Any) -> Any:
    """The loader's collation, which `ViewDataset.__getitems__` has done already; torch's types expect a list."""
    return batch


def _pixels(shape: tuple[int, ...]) -> Tensor:
    """Memory for uint8 values: in a worker, shared with the process that will read them, as torch's collation does."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    storage = torch.UntypedStorage._new_shared(math.prod(shape))
    return torch.empty(0, dtype=torch.uint8).set_(storage).view(shape)


def _one_thread(_: int) -> None:
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
