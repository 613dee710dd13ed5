"""Which images a step sees: a function of (seed, step) alone, shared out exactly among processes and micro-batches."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from lowzoo.base.errors import LowzooError

# (epoch, index) of an image.
Key = tuple[int, int]


class EpochBatches(Sampler[list[Key]]):
    """Batches of (epoch, index) from a given step to the end of the run; each epoch is a fresh permutation.

    The last, incomplete batch of an epoch is left out. A batch is that of all ranks together: each takes a contiguous
    part, and accumulation splits that part into contiguous micro-batches, so what one step sees depends on neither.
    The position is the step alone, so a run resumes anywhere, in the time of one permutation.

    Args:
        count: Images in the source.
        batch_size: Images in a batch, over all ranks and micro-batches.
        epochs: Length of the run.
        seed: Random seed of the run.
        start: First step, counted over the whole run.
        rank: Rank of this process.
        world_size: Number of processes.
        accumulate: Micro-batches a step.

    Raises:
        LowzooError: The batch is larger than the data, or cannot be divided.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        epochs: int,
        seed: int,
        start: int = 0,
        *,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
    ) -> None:
        parts = world_size * accumulate
        if batch_size % parts:
            raise LowzooError(
                f"a batch of {batch_size} cannot be divided among {world_size} processes with {accumulate} "
                "micro-batches each",
                f"Use --batch-size {(batch_size // parts + 1) * parts}",
            )
        if batch_size > count:
            raise LowzooError(f"a batch of {batch_size} is larger than the data, {count} images", "Use a smaller batch")
        self.count, self.batch_size, self.epochs, self.seed, self.start = count, batch_size, epochs, seed, start
        self.rank, self.world_size = rank, world_size
        self.accumulate, self.micro_batch = accumulate, batch_size // parts
        self.steps_per_epoch = count // batch_size

    def __len__(self) -> int:
        return (self.epochs * self.steps_per_epoch - self.start) * self.accumulate

    def __iter__(self) -> Iterator[list[Key]]:
        first_epoch, first_step = divmod(self.start, self.steps_per_epoch)
        for epoch in range(first_epoch, self.epochs):
            order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
            for step in range(first_step if epoch == first_epoch else 0, self.steps_per_epoch):
                begin = step * self.batch_size + self.rank * self.accumulate * self.micro_batch
                for part in range(begin, begin + self.accumulate * self.micro_batch, self.micro_batch):
                    yield [(epoch, index) for index in order[part : part + self.micro_batch].tolist()]

    def images_of(self, epoch: int) -> int:
        """How many images this rank is to see in `epoch`, counted from the first step of these batches."""
        steps = min(self.steps_per_epoch, (epoch + 1) * self.steps_per_epoch - self.start)
        return max(0, steps) * self.accumulate * self.micro_batch


class SampleCounter:
    """Counts the images that arrive, readable or not, and compares them with what was asked for."""

    def __init__(self, batches: EpochBatches) -> None:
        self._batches = batches
        self._seen: Counter[int] = Counter()

    def add(self, epoch: int, images: int) -> None:
        """Count the images of a (micro-)batch."""
        self._seen[epoch] += images

    def end_epoch(self, epoch: int) -> int:
        """Assert that `epoch` is complete on this rank.

        Returns:
            The number of images seen in it.

        Raises:
            LowzooError: Fewer or more than there should be.
        """
        seen, due = self._seen.pop(epoch, 0), self._batches.images_of(epoch)
        if seen != due:
            few_or_many = "few" if seen < due else "many"
            raise LowzooError(
                f"epoch {epoch} saw {seen} images instead of {due}: {abs(seen - due)} too {few_or_many}",
                "Go on from the last checkpoint with --resume",
            )
        return seen
