"""What probes train on: batches of features of several kinds, from the cache or from augmented images."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lowzoo.base.errors import LowzooError
from lowzoo.base.progress import progress_bar
from lowzoo.data.source import ImageSource
from lowzoo.evaluate.probes.augment import AugmentedDataset, Key, ShuffledKeys
from lowzoo.evaluate.probes.settings import ProbeSettings
from lowzoo.features.divided import require_same_inputs
from lowzoo.features.feature_kinds import FeatureNetwork
from lowzoo.features.features import MAX_UNREADABLE, Precision, autocast
from lowzoo.features.folded import folded, run
from lowzoo.features.inputs import InputBatch, input_loader, normalise_batch
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.system.processes import ALONE, Processes

Batch = tuple[float, list[Tensor], Tensor]
"""Progress in epochs, features (B, D) of each kind, labels (B,)."""


class Feed(Protocol):
    """Gives the batches of one training on the images `indices`."""

    def batches(self, indices: NDArray[np.int64], seed: int) -> Iterator[Batch]:
        """All batches of all epochs."""


class CachedFeed:
    """Features that were computed once; no augmentation.

    Args:
        kinds: (N, D) of each kind.
        labels: (N,).
        settings: Batch size and epochs.
        device: Where batches go.
        progress: Show a bar on stderr.
    """

    def __init__(
        self,
        kinds: Sequence[Tensor],
        labels: Tensor,
        settings: ProbeSettings,
        device: str | torch.device,
        progress: bool = True,
    ) -> None:
        # On a GPU all of it lies there: copies of random rows would take longer than the training.
        self.kinds = [x.to(device) for x in kinds]
        self.labels, self.settings, self.progress = labels.to(device), settings, progress

    def batches(self, indices: NDArray[np.int64], seed: int) -> Iterator[Batch]:
        """All batches of all epochs."""
        keys = ShuffledKeys(indices, self.settings.batch_size, self.settings.epochs, seed)
        with progress_bar("training probes", len(keys), wanted=self.progress) as advance:
            for step, batch in enumerate(keys):
                rows = torch.tensor([index for _, index in batch]).to(self.labels.device, non_blocking=True)
                yield step / keys.steps_per_epoch, [x[rows] for x in self.kinds], self.labels[rows]
                advance(1)


class AugmentedFeed:
    """Features of augmented images, computed while the probes train.

    Several processes each compute a part of every batch, and all get all of it, so that they train the same probes.

    Args:
        network: Frozen, on `device`.
        widths: D of each kind that it gives side by side.
        source: The training images.
        labels: (N,) of the images of the source.
        settings: Augmentation, batch size and epochs.
        spec: Preprocessing.
        device: Where the network is.
        workers: Processes that decode.
        precision: Precision of the forward pass.
        progress: Show a bar on stderr.
        among: Processes that train together.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        widths: Sequence[int],
        source: ImageSource,
        labels: Tensor,
        settings: ProbeSettings,
        spec: Preprocessing,
        *,
        device: str | torch.device = "cpu",
        workers: int = 0,
        precision: Precision = "fp32",
        progress: bool = True,
        among: Processes = ALONE,
    ) -> None:
        self.among = among
        self.network, self.widths, self.source, self.labels = network, list(widths), source, labels
        self.settings, self.spec = settings, spec
        self.device, self.workers, self.precision, self.progress = device, workers, precision, progress

    def batches(self, indices: NDArray[np.int64], seed: int) -> Iterator[Batch]:
        """All batches of all epochs; images that cannot be read are left out.

        Raises:
            LowzooError: More than a tenth cannot be read, or processes that train together have different images.
        """
        require_same_inputs(
            self.among, self.source, self.network, self.spec, self.device, self.precision, settings=self.settings
        )
        keys = ShuffledKeys(indices, self.settings.batch_size, self.settings.epochs, seed)
        dataset = AugmentedDataset(self.source, self.spec, self.settings.augmentation, seed)
        loader = input_loader(dataset, _Parts(keys, self.among), workers=self.workers, device=self.device)
        network = folded(self.network, self.spec.input_size, self.device)
        bar = progress_bar(f"training on {self.source.name}", len(keys), wanted=self.progress)
        seen = unreadable = 0
        with bar as advance:
            for step, batch in enumerate(loader):
                wide, kept, errors = self._gathered(batch, network)
                seen += len(kept) + len(errors)
                unreadable += len(errors)
                if unreadable > max(MAX_UNREADABLE * seen, MAX_UNREADABLE * self.settings.batch_size):
                    raise LowzooError(
                        f"{unreadable} of {seen} images of {self.source.name} cannot be read, the last: {errors[-1]}",
                        "Replace or remove them",
                    )
                if len(kept) > 1:
                    # Tensors of inference mode cannot enter the graph of the probes.
                    features = list(wide.clone().split(self.widths, dim=1))
                    yield (
                        step / keys.steps_per_epoch,
                        features,
                        self.labels[kept].to(self.device, non_blocking=True),
                    )
                advance(1)

    def _gathered(self, batch: InputBatch, network: nn.Module) -> tuple[Tensor, Tensor, tuple[str, ...]]:
        """Features (B, D) on the device, indices (B,) and errors of the whole batch, in its order."""
        with torch.inference_mode(), autocast(self.device, self.precision):
            # No network need take an empty batch.
            given = batch.pixels if len(batch.kept) else batch.pixels.new_zeros(1, *batch.pixels.shape[1:])
            wide = run(network, normalise_batch(given, self.spec, self.device)).float()[: len(batch.kept)]
        if self.among.count == 1:
            return wide, batch.kept, batch.errors
        parts = self.among.gather((wide.cpu(), batch.kept, batch.errors))
        features, kept, errors = zip(*parts, strict=True)
        return torch.cat(features).to(self.device), torch.cat(kept), tuple(error for part in errors for error in part)


class _Parts:
    """This process's part of each batch of keys."""

    def __init__(self, keys: ShuffledKeys, among: Processes) -> None:
        self._keys, self._among = keys, among

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[list[Key]]:
        for batch in self._keys:
            part = self._among.part(len(batch))
            yield batch[part.start : part.stop]
