"""Training images of the protocols that augment: a random resized crop, or the evaluation's picture, perhaps mirrored.

What image `index` looks like in `epoch` is a function of (seed, epoch, index) alone. Crops are those of torchvision's
`RandomResizedCrop`: area 8 to 100 %, aspect ratio 3/4 to 4/3, ten attempts, else the centre.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.source import ImageSource
from lowzoo.evaluate.probes.settings import Augmentation
from lowzoo.features.inputs import InputBatch, SpecDataset
from lowzoo.preprocess.transform import Preprocessing, resize, to_uint8_input

_AREA, _LOG_RATIO, _ATTEMPTS = (0.08, 1.0), (math.log(3 / 4), math.log(4 / 3)), 10

Key = tuple[int, int]
"""(epoch, index)."""


class AugmentedDataset(SpecDataset):
    """Batches of augmented inputs of (epoch, index) keys."""

    def __init__(self, source: ImageSource, spec: Preprocessing, augmentation: Augmentation, seed: int) -> None:
        self.source, self.spec, self.augmentation, self.seed = source, spec, augmentation, seed

    def __len__(self) -> int:
        return len(self.source)

    def picture(self, key: Key) -> NDArray[np.uint8]:
        """One network input (H, W, C); `BadImage` if the file cannot be read."""
        epoch, index = key
        image = self.source.decoded(index, channels=self.spec.input_size[0]).pixels
        rng = np.random.default_rng([self.seed, epoch, index])
        pixels = _crop(image, self.spec, rng) if self.augmentation == "crop" else to_uint8_input(image, self.spec)
        return pixels[:, ::-1] if self.augmentation != "none" and rng.random() < 0.5 else pixels

    def __getitems__(self, keys: Sequence[Key]) -> InputBatch:
        """The batch of these keys; torch's loader calls this."""
        pixels = torch.empty(len(keys), *self.spec.input_size[1:], self.spec.input_size[0], dtype=torch.uint8)
        kept: list[int] = []
        errors: list[str] = []
        for key in keys:
            try:
                pixels[len(kept)] = torch.from_numpy(np.ascontiguousarray(self.picture(key)))
                kept.append(key[1])
            except BadImage as error:
                errors.append(error.message)
        return InputBatch(pixels[: len(kept)], torch.tensor(kept, dtype=torch.int64), tuple(errors))


class ShuffledKeys:
    """Batches of (epoch, index) over a whole training; each epoch is a permutation of `indices`.

    Args:
        indices: (N,) images to train on.
        batch_size: Images in a batch; the last one of an epoch may be smaller, and is left out if it is one image.
        epochs: Passes.
        seed: Random seed of the order.
    """

    def __init__(self, indices: NDArray[np.int64], batch_size: int, epochs: int, seed: int) -> None:
        self.indices, self.epochs, self.seed = indices, epochs, seed
        self.batch_size = min(batch_size, len(indices))
        steps = math.ceil(len(indices) / self.batch_size)
        # Batch norm has no variance of a single image.
        self.steps_per_epoch = steps - 1 if steps > 1 and len(indices) % self.batch_size == 1 else steps

    def __len__(self) -> int:
        return self.epochs * self.steps_per_epoch

    def __iter__(self) -> Iterator[list[Key]]:
        for epoch in range(self.epochs):
            order = np.random.default_rng([self.seed, 4, epoch]).permutation(self.indices)
            for step in range(self.steps_per_epoch):
                batch = order[step * self.batch_size : (step + 1) * self.batch_size]
                yield [(epoch, index) for index in batch.tolist()]


def _crop(image: NDArray[np.uint8], spec: Preprocessing, rng: np.random.Generator) -> NDArray[np.uint8]:
    left, top, width, height = _crop_box(image.shape[1], image.shape[0], rng)
    return resize(image[top : top + height, left : left + width], (spec.input_size[1], spec.input_size[2]), spec)


def _crop_box(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw (left, top, width, height)."""
    for _ in range(_ATTEMPTS):
        area = width * height * rng.uniform(*_AREA)
        ratio = math.exp(rng.uniform(*_LOG_RATIO))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1)), w, h
    ratio = min(max(width / height, 3 / 4), 4 / 3)
    w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
    return (width - w) // 2, (height - h) // 2, w, h
