"""What probes train on: batches of features of several kinds, from the cache or from augmented images."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowzoo.base.errors import LowzooError
from lowzoo.base.progress import progress_bar
from lowzoo.data.source import ImageSource
from lowzoo.evaluate.probes.augment import AugmentedDataset, ShuffledKeys
from lowzoo.evaluate.probes.settings import ProbeSettings
from lowzoo.features.feature_kinds import FeatureNetwork
from lowzoo.features.features import MAX_UNREADABLE, Precision, autocast
from lowzoo.features.folded import folded, run
from lowzoo.features.inputs import input_loader, normalise_batch
from lowzoo.preprocess.transform import Preprocessing

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
    ) -> None:
        self.network, self.widths, self.source, self.labels = network, list(widths), source, labels
        self.settings, self.spec = settings, spec
        self.device, self.workers, self.precision, self.progress = device, workers, precision, progress

    def batches(self, indices: NDArray[np.int64], seed: int) -> Iterator[Batch]:
        """All batches of all epochs; images that cannot be read are left out.

        Raises:
            LowzooError: More than a tenth cannot be read.
        """
        keys = ShuffledKeys(indices, self.settings.batch_size, self.settings.epochs, seed)
        dataset = AugmentedDataset(self.source, self.spec, self.settings.augmentation, seed)
        loader = input_loader(dataset, keys, workers=self.workers, device=self.device)
        network = folded(self.network, self.spec.input_size, self.device)
        bar = progress_bar(f"training on {self.source.name}", len(keys), wanted=self.progress)
        seen = unreadable = 0
        with bar as advance:
            for step, batch in enumerate(loader):
                seen += len(batch.kept) + len(batch.errors)
                unreadable += len(batch.errors)
                if unreadable > max(MAX_UNREADABLE * seen, MAX_UNREADABLE * self.settings.batch_size):
                    raise LowzooError(
                        f"{unreadable} of {seen} images of {self.source.name} cannot be read, the last: "
                        f"{batch.errors[-1]}",
                        "Replace or remove them",
                    )
                if len(batch.kept) > 1:
                    with torch.inference_mode(), autocast(self.device, self.precision):
                        wide = run(network, normalise_batch(batch.pixels, self.spec, self.device)).float()
                    # Tensors of inference mode cannot enter the graph of the probes.
                    features = list(wide.clone().split(self.widths, dim=1))
                    yield (
                        step / keys.steps_per_epoch,
                        features,
                        self.labels[batch.kept].to(self.device, non_blocking=True),
                    )
                advance(1)
