"""Keeps a run within its minutes: times its steps, and lays its schedule over those that fit.

What is timed is the whole command, with loading, fitting, monitors and checkpoints. The layout is corrected at every
tenth of the run, as other programs come and go on the machine; each correction is written down before it takes effect.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from lowzoo.base.errors import LowzooError
from lowzoo.base.progress import in_minutes
from lowzoo.train.distributed import collectives
from lowzoo.train.monitoring.progress import Progress
from lowzoo.train.settings.length import Length, write_segments

# The first steps allocate, so they are not timed; then so many are, for at least so long, unless no more have room.
_UNTIMED, _TIMED = 2, 5
_TIMED_SHARE = 0.02
# A correction below this fraction of the run is left out.
_WORTH = 0.01
_CORRECTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
# Of the budget, for the monitor.
_MONITOR_SHARE = 0.1
# Weights, card and curves are written after the last step.
_CLOSING_SECONDS = 3.0


class Budget:
    """The minutes of a run.

    Args:
        minutes: In all.
        spent: Seconds that went before `train` is called, in earlier parts of the run too.
        folder: Folder of the run; the layout is kept there.
        monitors: Times that the monitor is to measure in the run.
        measuring: Seconds that it takes, where an earlier part of the run knows.
        say: Receives a line when it is known how many steps fit.
        clock: Seconds.

    Raises:
        LowzooError: They are spent before the first step.
    """

    def __init__(
        self,
        minutes: float,
        spent: float,
        folder: Path,
        monitors: int,
        measuring: float = 0.0,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = 60 * minutes
        if spent >= self.seconds:
            raise LowzooError(
                f"the budget of {in_minutes(minutes)} was spent before the first step, after {spent:.0f} s",
                "Go on by the same command with --resume and more --minutes",
            )
        self.monitors, self.measuring, self._say = monitors, measuring, say
        self._spent, self._folder, self._clock = spent, folder, clock
        self._began = self._last = clock()
        self._mark: tuple[int, float] | None = None
        self._steps = 0

    def left(self) -> float:
        """Seconds of the budget that are left."""
        return max(0.0, self.seconds - self._spent - (self._clock() - self._began))

    @property
    def plan(self) -> dict[str, float]:
        """What a later part of the run has to know of the monitor."""
        return {"monitors": self.monitors, "measuring": self.measuring}

    def measured(self, seconds: float) -> None:
        """Note how long the monitor took; it will take as long again."""
        self.measuring = seconds

    def plan_monitors(self) -> None:
        """Lower the number of the monitor's measurements until they take a fixed fraction of the budget at most.

        All processes call this together, as only the first one measures and all have to stop at the same marks.
        """
        fitting = max(1, min(self.monitors, int(_MONITOR_SHARE * self.seconds / max(self.measuring, 1e-9))))
        self.monitors = collectives.any_of(fitting if collectives.rank() == 0 else 0)
        self._last = self._clock()

    def after(self, step: int, length: Length) -> Length:
        """The layout after `step` steps were made: the same, or another one."""
        self._steps += 1
        before, self._last = self._last, self._clock()
        if step <= length.segments[-1].step:
            return length  # laid out by an earlier part of the run, which was ended before its next checkpoint
        if self._mark is None:
            # Of steps beside which hardly another has room, the first one counts, too.
            long = length.guessed and self._room(self._last - before, length) <= _UNTIMED
            if not collectives.any_of(int(long)):
                if self._steps >= _UNTIMED:
                    self._mark = step, self._last
                return length
            self._mark = step - 1, before
        made, spent = step - self._mark[0], self._last - self._mark[1]
        if length.guessed:
            enough = spent >= _TIMED_SHARE * self.seconds
            due = made >= _TIMED and (enough or step >= length.total // 2)
            due = due or self._room(spent / made, length) <= _TIMED
        else:
            due = self._passed(step, length)
        if not collectives.any_of(int(due)):
            return length
        return self._laid_again(step, length)

    def _passed(self, step: int, length: Length) -> bool:
        """Whether the step was the first one beyond a fraction of the run at which to correct."""
        before, now = (step - 1) / length.total, step / length.total
        return any(before < share <= now for share in _CORRECTIONS)

    def _laid_again(self, step: int, length: Length) -> Length:
        total = collectives.any_of(self._fitting(step, length) if collectives.rank() == 0 else 0)
        first = length.guessed
        if not first and abs(total - length.total) < max(1, _WORTH * length.total):
            return length
        laid = length.relaid(step, total)
        if first:
            seen = "" if laid.epochs >= 1 else ", so not every image will be seen"
            passes = f"{laid.epochs:.1f}" if laid.epochs < 10 else f"{laid.epochs:.0f}"
            fit = "1 step fits" if total == 1 else f"{total} steps fit"
            self._say(f"{fit} into {in_minutes(self.seconds / 60)}: {passes} passes over the images{seen}")
        if collectives.rank() == 0:
            write_segments(self._folder, laid)
        return laid

    def _fitting(self, step: int, length: Length) -> int:
        assert self._mark is not None
        room = self._room((self._last - self._mark[1]) / max(1, step - self._mark[0]), length)
        # One that mostly has room is made, too.
        return step + (int(room) if room >= 1 else round(max(0.0, room)))

    def _room(self, pace: float, length: Length) -> float:
        """Steps of so many seconds for which the budget has room."""
        left = self.seconds - self._spent - (self._last - self._began) - _CLOSING_SECONDS - self.measuring
        if length.guessed:
            # Later, the time of a step includes its share of the monitors.
            left -= self.measuring * (self.monitors - 1)
        return left / max(pace, 1e-9)


def shown_run(
    bar: Progress, length: Length, done: int, batch_size: int, budget: Budget | None
) -> AbstractContextManager[None]:
    """The bar of a run while the block runs; what is left of a budget is known before the number of steps is.

    Args:
        bar: Progress of the run.
        length: Length of the run.
        done: Steps that are done.
        batch_size: Images in a step.
        budget: Minutes of the run, where they decide its length.
    """
    if budget is None:
        return bar.running(length.total, done, batch_size)
    return bar.running(None if length.guessed else length.total, done, batch_size, budget.left)
