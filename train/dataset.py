"""From a source of encoded images to batches of uint8 views, in an order that is a function of (seed, epoch)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lowzoo.data.decode import BadImage, decode_rgb
from lowzoo.data.source import ImageSource
from lowzoo.errors import LowzooError
from lowzoo.train.views import ViewGroup, crop_views, sample_params

_PROBED = 64


@dataclass(frozen=True, slots=True)
class ViewBatch:
    """The views of the readable images of one batch.

    Args:
        crops: One uint8 tensor (B, count, 3, S, S) a group.
        photometric: (B, V, 8) float32, see `ViewParams`.
        bad: A message for each image of the batch that could not be read.
    """

    crops: list[Tensor]
    photometric: Tensor
    bad: list[str]

    def __len__(self) -> int:
        return len(self.photometric)


_Item = tuple[list[np.ndarray], np.ndarray] | str


class ViewDataset(Dataset[_Item]):
    """Crops of image `index` in `epoch`; a broken image gives its message instead."""

    def __init__(self, source: ImageSource, groups: Sequence[ViewGroup], seed: int) -> None:
        self.source = source
        self.groups = tuple(groups)
        self.seed = seed

    def __getitem__(self, key: tuple[int, int]) -> _Item:
        epoch, index = key
        try:
            image = decode_rgb(self.source.encoded(index), self.source.where(index))
        except BadImage as error:
            return error.message
        params = sample_params(self.groups, self.seed, epoch, index, *image.shape[:2])
        return crop_views(image, params, self.groups), params.photometric


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) from a given step to the end of the run; each epoch is a fresh permutation.

    The last, incomplete batch of an epoch is left out. The position is the step alone, so a run resumes anywhere.

    Args:
        count: Images in the source.
        batch_size: Images in a batch.
        epochs: Length of the run.
        seed: Of the run.
        start: First step, counted over the whole run.
    """

    def __init__(self, count: int, batch_size: int, epochs: int, seed: int, start: int = 0) -> None:
        self.count, self.batch_size, self.epochs, self.seed, self.start = count, batch_size, epochs, seed, start
        self.steps_per_epoch = count // batch_size

    def __len__(self) -> int:
        return self.epochs * self.steps_per_epoch - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in range(self.start // self.steps_per_epoch, self.epochs):
            order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
            first = self.start % self.steps_per_epoch if epoch == self.start // self.steps_per_epoch else 0
            for step in range(first, self.steps_per_epoch):
                batch = order[step * self.batch_size : (step + 1) * self.batch_size]
                yield [(epoch, int(index)) for index in batch]


def collate(items: Sequence[_Item]) -> ViewBatch:
    """Stack what could be read."""
    good = [item for item in items if not isinstance(item, str)]
    bad = [item for item in items if isinstance(item, str)]
    if not good:
        return ViewBatch([], torch.empty(0), bad)
    crops = [torch.from_numpy(np.stack(group)) for group in zip(*(crops for crops, _ in good), strict=True)]
    return ViewBatch(crops, torch.from_numpy(np.stack([photometric for _, photometric in good])), bad)


def make_loader(dataset: ViewDataset, batches: EpochBatches, *, workers: int, pin: bool) -> "DataLoader[ViewBatch]":
    """The loader of a run; workers use one thread each, as there is one worker a core."""
    return DataLoader(
        dataset,  # type: ignore[arg-type]  # the keys are pairs, which the stub does not foresee
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=False,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread,
    )


def check_source(source: ImageSource, batch_size: int) -> None:
    """Refuse a source that cannot feed one batch, or none of whose first images can be read.

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


def _one_thread(_: int) -> None:
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
