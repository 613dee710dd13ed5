"""From a source of encoded images to batches of uint8 views."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lowzoo.data.decode import BadImage, decode_rgb
from lowzoo.data.source import ImageSource
from lowzoo.errors import LowzooError
from lowzoo.train.batches import EpochBatches, Key, SampleCounter
from lowzoo.train.views import ViewGroup, crop_views, sample_params

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


@dataclass(frozen=True, slots=True)
class ViewItem:
    """The views of one image; fields as in `ViewBatch`, None and empty where no image could be read."""

    key: Key
    crops: list[NDArray[np.uint8]] | None
    photometric: NDArray[np.float32]
    record: NDArray[np.float32]
    bad: list[str]


class ViewDataset(Dataset[ViewItem]):
    """Crops of image `index` in `epoch`.

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

    def __getitem__(self, key: Key) -> ViewItem:
        epoch, wanted = key
        bad = []
        for index in self._candidates(epoch, wanted):
            try:
                image = decode_rgb(self.source.encoded(index), self.source.where(index))
            except BadImage as error:
                bad.append(error.message)
                continue
            params = sample_params(self.groups, self.seed, epoch, index, *image.shape[:2], view_epochs=self.view_epochs)
            crops = crop_views(image, params, self.groups)
            return ViewItem((epoch, index), crops, params.photometric, params.record()[self._global], bad)
        nothing = np.empty(0, np.float32)
        return ViewItem(key, None, nothing, nothing, bad)

    def _candidates(self, epoch: int, wanted: int) -> Iterator[int]:
        yield wanted
        # Drawn, not the next in line: damage comes in runs, such as a shard.
        others = np.random.default_rng([self.seed, epoch, wanted])
        for _ in range(_SUBSTITUTES):
            yield int(others.integers(len(self.source)))


def collate(items: Sequence[ViewItem]) -> ViewBatch:
    """Stack what could be read; empty where nothing could."""
    bad = [message for item in items for message in item.bad]
    good = [item for item in items if item.crops is not None]
    crops = zip(*(item.crops for item in good if item.crops is not None), strict=True)
    return ViewBatch(
        crops=[torch.from_numpy(np.stack(group)) for group in crops],
        photometric=_stack([item.photometric for item in good]),
        bad=bad,
        epoch=items[0].key[0],
        indices=torch.tensor([item.key[1] for item in good], dtype=torch.int64),
        records=_stack([item.record for item in good]),
        seen=len(items),
    )


def make_loader(dataset: ViewDataset, batches: EpochBatches, *, workers: int, pin: bool) -> "DataLoader[ViewBatch]":
    """The loader of a run; workers use one thread each, as there is one worker a core.

    A worker's random state is never used: views are functions of (seed, epoch, index).
    """
    return DataLoader(
        dataset,  # type: ignore[arg-type]  # the keys are pairs, which the stub does not foresee
        batch_sampler=batches,
        collate_fn=collate,
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


def _one_thread(_: int) -> None:
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
