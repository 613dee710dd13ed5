"""What a run shows while it works: where the time goes, and how far it is."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from lowzoo.base.progress import Pace, duration, plain_line, progress_bar, shows_bars

Item = TypeVar("Item")
# Seconds between plain lines of the monitor.
_LEAST_BETWEEN = 10.0


class StepClock:
    """Splits the time of the steps since the last report into waiting for data, named parts, and the rest.

    On a GPU the host runs ahead, so a part is bracketed by events and read when a report is due.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._since = time.perf_counter()
        self._steps = 0
        self._wait = 0.0
        self._parts: dict[str, float] = defaultdict(float)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    def iterate(self, loader: Iterable[Item]) -> Iterator[Item]:
        """The loader's batches; the time until each is counted as waiting."""
        iterator = iter(loader)
        while True:
            start = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self._wait += time.perf_counter() - start
            self._steps += 1
            yield batch

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block's time under `name`."""
        if self._cuda:
            before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            before.record()
            yield
            after.record()
            self._events.append((name, before, after))
            return
        start = time.perf_counter()
        yield
        self._parts[name] += time.perf_counter() - start

    def report(self, batch_size: int) -> dict[str, float]:
        """Images/s, share of waiting and of each part since the last report; starts the next interval."""
        if self._events:
            torch.cuda.synchronize()
            for name, before, after in self._events:
                self._parts[name] += before.elapsed_time(after) / 1000
        now = time.perf_counter()
        seconds = max(now - self._since, 1e-9)
        row = {
            "images_per_s": round(self._steps * batch_size / seconds, 2),
            "data_wait": round(self._wait / seconds, 4),
            **{f"{name}_share": round(spent / seconds, 4) for name, spent in self._parts.items()},
        }
        self._events.clear()
        self._parts.clear()
        self._since, self._steps, self._wait = now, 0, 0.0
        return row

    def pause(self) -> None:
        """Leave what happened since the last report out of the next one (a monitor, a checkpoint)."""
        self._since, self._steps, self._wait = time.perf_counter(), 0, 0.0
        self._events.clear()
        self._parts.clear()


def track(items: Sequence[Item], title: str) -> Iterator[Item]:
    """The items, with their progress on standard error; none where a bar is shown already."""
    with progress_bar(title, len(items), wanted=not _SHOWN) as advance:
        for item in items:
            yield item
            advance(1)


class Progress:
    """A run on standard error: loss, k-NN, images/s and the time left; on a terminal as a bar, else as plain lines.

    The bar shows waiting for data and the teacher's share, too. Lines come after the first seconds, every half minute,
    and where the monitor has measured, at most one every few seconds.
    """

    def __init__(self) -> None:
        self._terminal = shows_bars()
        self._bar: Any = _terminal_bar(lambda: self._left) if self._terminal else None
        self._task = self._bar.add_task("train", total=None, text="") if self._bar else None
        self._figures: dict[str, Any] = {}
        self._total: int | None = None
        self._left: Callable[[], float] | None = None
        self._batch = 0
        self._pace = Pace()
        self._mark = (0, time.monotonic())
        self._noted = -_LEAST_BETWEEN

    @contextmanager
    def running(
        self, steps: int | None, done: int, batch_size: int, left: Callable[[], float] | None = None
    ) -> Iterator[None]:
        """Show the bar while the block runs; it stays as it stands then.

        Args:
            steps: In all; None where it is not known yet.
            done: Steps that are done.
            batch_size: Images in a step.
            left: Gives the seconds that are left of a budget; by the pace of the steps if None.
        """
        self._total, self._batch, self._left = steps, batch_size, left
        self._mark, self._pace = (done, time.monotonic()), Pace()
        if self._bar is None:
            yield
            return
        self._bar.update(self._task, total=steps, completed=done)
        _SHOWN.append(self)
        with self._bar:
            try:
                yield
            finally:
                _SHOWN.remove(self)

    def lengthen(self, steps: int) -> None:
        """Show another number of steps from now on."""
        self._total = steps
        if self._bar is not None:
            self._bar.update(self._task, total=steps)

    def step(self, step: int, loss: torch.Tensor) -> None:
        """After each step: write a line if one is due. Only then is the loss fetched, for which a GPU must pause."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step)
        if self._terminal or not self._pace.due():
            return
        before, since = self._mark
        self._mark = step, time.monotonic()
        seconds = (self._mark[1] - since) / max(1, step - before)
        remaining = self._left() if self._left else seconds * ((self._total or step) - step)
        left = f", {duration(remaining)} left" if step != self._total else ""
        plain_line(
            f"{self._at(step)}, loss {float(loss):.3f}{self._neighbours()}, "
            f"{self._batch / max(seconds, 1e-9):.0f} images/s{left}"
        )

    def update(self, step: int, row: dict[str, Any]) -> None:
        """Show a row of the metrics."""
        if self._bar is None:
            return
        text = f"loss {row['loss']:.2f} {row['images_per_s']:.0f} img/s wait {100 * row['data_wait']:.0f}%"
        if "teacher_share" in row:
            text += f" teacher {100 * row['teacher_share']:.0f}%"
        shown = "".join(f" {word} {self._figures[key]:.1f}%" for key, word in list(_words(self._figures))[:1])
        self._bar.update(self._task, completed=step, text=text + shown)

    def note(self, step: int, figures: dict[str, Any]) -> None:
        """Show the monitors' last figures."""
        self._figures = figures
        now = time.monotonic()
        # Epochs of a small set take less than a second.
        if self._terminal or (step not in (0, self._total) and now < self._noted + _LEAST_BETWEEN):
            return
        self._noted = now
        plain_line(f"{self._at(step) if step else 'before training'}{self._neighbours()}")

    def _at(self, step: int) -> str:
        return f"step {step}" if self._total is None else f"step {step} of {self._total}"

    def _neighbours(self) -> str:
        return "".join(f", {word} {self._figures[key]:.1f} %" for key, word in _words(self._figures))


def _terminal_bar(budget: Callable[[], Callable[[], float] | None]) -> Any:
    """A bar within 80 columns, with the figures of a long run.

    Args:
        budget: Gives what tells the seconds that are left of a budget; None where there is none.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class Left(ProgressColumn):
        """Of the budget, or by the pace of the steps."""

        max_refresh = 0.5

        def __init__(self) -> None:
            super().__init__()
            self._by_pace = TimeRemainingColumn()

        def render(self, task: Task) -> Text:
            left = budget()
            if left is None or task.finished:
                return self._by_pace.render(task)
            return Text(duration(left()), style="progress.remaining")

    return RichProgress(
        BarColumn(bar_width=8),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        Left(),
        console=Console(stderr=True),
    )


def _words(figures: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys of the monitors' figures with a word for people, the most telling first."""
    words = (("knn", "k-NN"), ("teacher_neighbours", "neighbours as the teacher's"), ("own_view", "own view found"))
    return ((key, word) for key, word in words if key in figures)


# Terminals show one live bar at a time.
_SHOWN: list[Progress] = []
