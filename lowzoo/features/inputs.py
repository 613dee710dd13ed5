"""Batches of network inputs from a source of encoded images, as a loader's workers make them.

Workers hand over uint8 pixels: a quarter of the bytes of floats through the queue, normalised in batch where the
network is. The pixels lie in the order H, W, C, so that the batch is channels-last without a copy.
"""

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.source import ImageSource
from lowzoo.preprocess.transform import InputSpec, Preprocessing, to_uint8_input
from lowzoo.system.shared_memory import PREFETCH, ThroughPipe, plan_workers
from lowzoo.system.signals import leave_signals_to_the_parent


@dataclass(frozen=True, slots=True)
class InputBatch:
    """Images that could be read.

    Args:
        pixels: (B, H, W, C) uint8.
        kept: (B,) int64, the index of each in the source.
        errors: One message for each image that could not be read.
        odd: Index and oddity of images that could be read, see `lowzoo.data.pixels.decode.ODDITIES`.
    """

    pixels: Tensor
    kept: Tensor
    errors: tuple[str, ...]
    odd: tuple[tuple[int, str], ...] = ()

    def pin_memory(self) -> "InputBatch":
        """Torch's loader calls this before a copy to a GPU."""
        return replace(self, pixels=self.pixels.pin_memory())


class SpecDataset(Dataset[InputBatch]):
    """Gives whole batches of inputs of one specification."""

    spec: Preprocessing


class InputDataset(SpecDataset):
    """The evaluation inputs of a source."""

    def __init__(self, source: ImageSource, spec: Preprocessing) -> None:
        self.source, self.spec = source, spec

    def __len__(self) -> int:
        return len(self.source)

    def picture(self, index: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        """One network input (H, W, C) and what is odd about the image; `BadImage` if the file cannot be read."""
        decoded = self.source.decoded(index, channels=self.spec.input_size[0])
        return to_uint8_input(decoded.pixels, self.spec), decoded.oddities

    def __getitems__(self, indices: Sequence[int]) -> InputBatch:
        """The batch of these indices; torch's loader calls this."""
        pixels = torch.empty(len(indices), *self.spec.input_size[1:], self.spec.input_size[0], dtype=torch.uint8)
        kept: list[int] = []
        errors: list[str] = []
        odd: list[tuple[int, str]] = []
        for index in indices:
            try:
                picture, oddities = self.picture(index)
                pixels[len(kept)] = torch.from_numpy(picture)
                kept.append(index)
                odd += [(index, oddity) for oddity in oddities]
            except BadImage as error:
                errors.append(error.message)
        return InputBatch(pixels[: len(kept)], torch.tensor(kept, dtype=torch.int64), tuple(errors), tuple(odd))


def input_loader(
    dataset: SpecDataset, batches: Iterable[Any], *, workers: int, device: str | torch.device
) -> "DataLoader[InputBatch]":
    """Load these batches of indices in order; each worker uses one thread, as there is one worker a core."""
    images = len(next(iter(batches), ()))  # no later one is larger
    workers, piped = plan_workers(images * math.prod(dataset.spec.input_size), workers)
    return _Loader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        # The dataset gives whole batches, which the stub ignores.
        collate_fn=ThroughPipe if piped else _as_it_is,  # type: ignore[arg-type]
        pin_memory=torch.device(device).type == "cuda",
        prefetch_factor=PREFETCH if workers else None,
        worker_init_fn=_one_thread,
    )


class _Loader(DataLoader[InputBatch]):
    """A loader whose workers do not run the caller's script again, where the platform starts them afresh.

    Such workers import the module `__main__` anew. A script without `if __name__ == "__main__"` would start its
    evaluation in each of them; they need nothing of it.
    """

    def __iter__(self) -> Any:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            return super().__iter__()
        finally:
            sys.modules["__main__"] = main


def normalise_batch(pixels: Tensor, spec: InputSpec, device: str | torch.device) -> Tensor:
    """From (B, H, W, C) uint8 to (B, C, H, W) float32, channels-last, with the arithmetic of `preprocess`."""
    images = pixels.to(device, non_blocking=True).permute(0, 3, 1, 2).float()
    # A tensor made on a GPU from numbers waits for all that the GPU has to do.
    mean = torch.tensor(spec.mean).view(-1, 1, 1).to(device, non_blocking=True)
    std = torch.tensor(spec.std).view(-1, 1, 1).to(device, non_blocking=True)
    return images.div_(255).sub_(mean).div_(std)


def _as_it_is(batch: InputBatch) -> InputBatch:
    return batch


def _one_thread(_: int) -> None:
    leave_signals_to_the_parent()
    torch.set_num_threads(1)
