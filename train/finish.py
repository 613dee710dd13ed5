"""From a loader's batch to finished views: the device's part of the augmentation, masks and labels."""

import numpy as np
import torch
from torch import Tensor

from lowzoo.data.source import ImageSource
from lowzoo.train.dataset import ViewBatch
from lowzoo.train.methods.base import Views
from lowzoo.train.recipes import RobConfig, TrainConfig
from lowzoo.train.views import photometric
from lowzoo.train.views.masks import block_mask


class ViewFinisher:
    """Finishes batches for one run.

    Args:
        config: Of the run.
        source: Training images, for their labels.
        device: Where the views go.
        patch: Side of the student's patches in pixels, for masks; of no use to a network without.
    """

    def __init__(self, config: TrainConfig, source: ImageSource, device: torch.device, patch: int) -> None:
        self._config = config
        self._device = device
        self._grid = config.global_size // patch
        self._labels = None
        self._masked = isinstance(config, RobConfig) and config.loss == "ibot"
        if isinstance(config, RobConfig) and config.loss == "kd":
            self._labels = torch.from_numpy(source.require_labels())

    def __call__(self, batch: ViewBatch) -> Views:
        """The views of a batch of at least one image."""
        groups, first = [], 0
        for crops in batch.crops:
            images, count = crops.shape[:2]
            pixels = crops.to(self._device, non_blocking=True).transpose(0, 1).flatten(0, 1)
            params = batch.photometric[:, first : first + count].transpose(0, 1).flatten(0, 1)
            groups.append(photometric(pixels, params).unflatten(0, (count, images)))
            first += count
        labels = self._labels[batch.indices].to(self._device) if self._labels is not None else None
        return Views(groups, batch.epoch, batch.indices, batch.records, labels, self._masks(batch))

    def _masks(self, batch: ViewBatch) -> Tensor | None:
        config = self._config
        if not self._masked or not isinstance(config, RobConfig):
            return None
        masks = [
            [
                block_mask(
                    (self._grid, self._grid),
                    config.seed,
                    batch.epoch,
                    int(index),
                    view,
                    ratios=config.mask_ratio,
                    spreads=config.mask_spread,
                ).ravel()
                for index in batch.indices
            ]
            for view in range(config.global_views)
        ]
        return torch.from_numpy(np.array(masks, dtype=bool)).to(self._device)
