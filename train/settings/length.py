"""The length of a run in steps: known beforehand, or laid over a budget of minutes on the way.

A run is laid out by `Segment`s. One that knows its length has a single one. One with a budget begins under a first
guess and gets another segment whenever it is known better how long a step takes; its progress goes on from where it
stands, so that the schedules still end at the end.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.io.files import write_text
from lowzoo.train.recipes.base import TrainConfig

FloatArray = NDArray[np.float64]
_FILE = "budget.json"
# Steps of a budget before any is timed: its first steps are those of a run of this length.
_FIRST_GUESS = 1000
# Rate and decay of each are laid out beforehand: a gigabyte for so many.
_MOST_STEPS = 10_000_000


@dataclass(frozen=True)
class Segment:
    """A part of a run's layout.

    Args:
        step: The first step (from 0) that it holds for.
        progress: Progress of the run at that step, in [0, 1).
        total: Steps of the whole run.
    """

    step: int
    progress: float
    total: int


@dataclass(frozen=True)
class Length:
    """How many steps a run has, and how far each is.

    Args:
        steps_per_epoch: Whole batches in the training images.
        segments: The first one begins at step 0, the last one has the final number of steps.
    """

    steps_per_epoch: int
    segments: tuple[Segment, ...]

    @staticmethod
    def known(total: int, steps_per_epoch: int) -> "Length":
        """The length of a run whose steps are known."""
        return Length(steps_per_epoch, (Segment(0, 0.0, total),))

    @staticmethod
    def of(config: TrainConfig, steps_per_epoch: int, segments: tuple[Segment, ...] = ()) -> "Length":
        """The length of a run of this configuration.

        Args:
            config: Configuration of the run.
            steps_per_epoch: Whole batches in the training images.
            segments: How a run with a budget was laid out so far.

        Raises:
            LowzooError: It has more steps than can be laid out.
        """
        if config.minutes:
            return Length(steps_per_epoch, segments or (Segment(0, 0.0, _FIRST_GUESS),))
        total = config.steps or config.epochs * steps_per_epoch
        if total > _MOST_STEPS:
            raise LowzooError(
                f"the run would have {total:,} steps, and {_MOST_STEPS:,} are the most",
                "Give fewer --steps or --epochs",
            )
        return Length.known(total, steps_per_epoch)

    @property
    def guessed(self) -> bool:
        """Whether a run with a budget has not been timed yet."""
        return len(self.segments) == 1

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.segments[-1].total

    @property
    def epochs(self) -> float:
        """Passes over the data, the last of which may be a part of one."""
        return self.total / self.steps_per_epoch

    def progress(self, update: Literal["step", "epoch"] = "step") -> FloatArray:
        """Progress in [0, 1) at every step; constant over an epoch where `update` is "epoch"."""
        where = np.empty(self.total)
        for segment in self.segments:
            left = np.arange(max(0, self.total - segment.step))
            where[segment.step :] = segment.progress + (1 - segment.progress) * left / max(
                1, segment.total - segment.step
            )
        steps = np.arange(self.total)
        return where if update == "step" else where[steps // self.steps_per_epoch * self.steps_per_epoch]

    def relaid(self, step: int, total: int) -> "Length":
        """The same up to `step`, and `total` steps in all.

        The first guess of a budget counts for nothing: the first segment after it takes the progress that the run
        would have had under the new total.
        """
        progress = step / total if self.guessed else float(self.progress()[step])
        return Length(self.steps_per_epoch, (*self.segments, Segment(step, progress, total)))

    def until(self, step: int) -> "Length":
        """As it was laid out before `step` was made."""
        kept = tuple(segment for segment in self.segments if segment.step < step)
        return Length(self.steps_per_epoch, kept or self.segments[:1])


def write_segments(folder: Path, length: Length) -> None:
    """Keep the layout of a run with a budget, before it takes effect: a run that goes on follows it to the bit."""
    write_text(folder / _FILE, json.dumps([asdict(segment) for segment in length.segments], indent=2) + "\n")


def read_segments(folder: Path) -> tuple[Segment, ...]:
    """The layout of the run in `folder`; none where nothing was laid out yet.

    Raises:
        LowzooError: It is damaged.
    """
    file = folder / _FILE
    if not file.exists():
        return ()
    try:
        return tuple(Segment(**entry) for entry in json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise LowzooError(f"{file} is damaged: {error}", "Start the run again in another folder") from None
