"""From a loader's batch to finished views: the device's part of the augmentation, masks and labels."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import ImageSource
from lowzoo.system.device_trace import DeviceTrace
from lowzoo.train.data.dataset import ViewBatch
from lowzoo.train.networks.step import Views
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs.ahead import PendingViews, ahead
from lowzoo.train.runs.device_decoding import Counts, DecodeJpegs, DeviceDecoder, require_decoder
from lowzoo.train.teacher_cache.frozen import FrozenTeacher
from lowzoo.train.views import photometric
from lowzoo.train.views.masks import block_mask


def check_settings(config: TrainConfig, device: torch.device, teacher_cache: Path | None = None) -> None:
    """Refuse settings that this device has no use for, or that do not go together.

    Args:
        config: Configuration of a run.
        device: Where it trains, with its number where processes have one each.
        teacher_cache: Folder of a teacher cache, if it has one.

    Raises:
        LowzooError: Views are to be made ahead, or photographs decoded, on what is no GPU; there is no nvJPEG; or a
            teacher's words are kept for pictures that the device decodes.
    """
    if config.decode == "device" and teacher_cache is not None:
        raise LowzooError(
            "a teacher cache keeps what the teacher says of pictures that the CPU decoded",
            "Leave out decode=device, or --teacher-cache",
        )
    if config.decode == "device" and not DeviceTrace.is_on():
        require_decoder(device)
    if config.ahead and device.type != "cuda":
        raise LowzooError(
            f"ahead=true is for a CUDA GPU, and this run is on {device.type}, which prepares views beside the step",
            "Leave it out",
        )


class DeviceViews:
    """Finishes batches for one run.

    Args:
        config: Configuration of the run, which `check_settings` has passed.
        source: Training images, for their labels.
        device: Where the views go.
        patch: Side of the student's patches in pixels, for masks; of no use to a network without.
        teacher: Whose cache is read with the views, where they are made ahead.
        decode: What decodes photographs on the device, where the configuration says so; nvJPEG if absent.
    """

    def __init__(
        self,
        config: TrainConfig,
        source: ImageSource,
        device: torch.device,
        patch: int,
        teacher: FrozenTeacher | None = None,
        decode: DecodeJpegs | None = None,
    ) -> None:
        self._decoder = DeviceDecoder(config.views, device, decode) if config.decode == "device" else None
        self._config = config
        self._teacher = teacher
        self._device = device
        self._grid = config.global_size // patch
        needs = config.needs
        self._mask_rules = needs.masks
        self._labels = torch.from_numpy(source.require_labels()) if needs.labels else None

    def __call__(self, batch: ViewBatch) -> Views:
        """The views of a batch of at least one image; its crops are released.

        Raises:
            ValueError: They were released before.
        """
        if len(batch) and not batch.crops:
            raise ValueError("this batch's crops have been released")
        groups, first = [], 0
        # What is lent may be overwritten as soon as it is given back; page-locked memory waits for its readers.
        placed = [crops.to(self._device, non_blocking=batch.lease is None) for crops in batch.crops]
        if self._decoder is not None:
            self._decoder.fill(placed, batch)
        for crops in placed:
            images, count = crops.shape[:2]
            pixels = crops.transpose(0, 1).flatten(0, 1)
            params = batch.photometric[:, first : first + count].transpose(0, 1).flatten(0, 1)
            groups.append(photometric(pixels, params).unflatten(0, (count, images)))
            first += count
        batch.release()
        labels = self._labels[batch.indices].to(self._device, non_blocking=True) if self._labels is not None else None
        return Views(groups, batch.epoch, batch.indices, batch.records, labels, self._masks(batch))

    def undecoded(self) -> Counts:
        """What could not be decoded on the device since the last call."""
        return Counts() if self._decoder is None else self._decoder.counts.take()

    def pair(self, batches: Iterable[ViewBatch]) -> Iterator[PendingViews]:
        """Yield (batch, thunk) in order; the thunk returns the batch's views.

        A GPU makes them when they are asked for, beside the host, or a step ahead (see `lowzoo.train.runs.ahead`). A
        CPU makes them in a thread of their own while the step before trains: between its large operations a step leaves
        cores and the interpreter idle. There a batch is given once the one after it has come.
        """
        if self._config.ahead:
            yield from ahead(batches, self._with_bottleneck, self._device)
            return
        if self._device.type != "cpu":
            for batch in batches:
                yield batch, partial(self, batch)
            return
        with ThreadPoolExecutor(1) as pool:
            ready = None
            for batch in batches:
                coming = batch, pool.submit(self, batch).result
                if ready is not None:
                    yield ready
                ready = coming
            if ready is not None:
                yield ready

    def _with_bottleneck(self, batch: ViewBatch) -> Views:
        """The views, with what the teacher's cache holds of them."""
        views = self(batch)
        return views if self._teacher is None else replace(views, bottleneck=self._teacher.read_ahead(views))

    def _masks(self, batch: ViewBatch) -> Tensor | None:
        config, rules = self._config, self._mask_rules
        if rules is None:
            return None
        masks = [
            [
                block_mask(
                    (self._grid, self._grid),
                    config.seed,
                    batch.epoch,
                    int(index),
                    view,
                    ratios=rules.ratios,
                    spreads=rules.spreads,
                ).ravel()
                for index in batch.indices
            ]
            for view in range(config.global_views)
        ]
        return torch.from_numpy(np.array(masks, dtype=bool)).to(self._device, non_blocking=True)
