"""What a run shows while it works: where the time goes, and a bar."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from lowzoo.data.progress import progress_bar

Item = TypeVar("Item")


class StepClock:
    """Splits the time of the steps since the last report into waiting for data, named parts, and the rest.

    On an accelerator the host runs ahead, so a part is bracketed by events and read when a report is due.
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
    """The items, with a bar on standard error that goes away at the end; none where a bar is shown already."""
    with progress_bar(title, len(items), wanted=not _SHOWN) as advance:
        for item in items:
            yield item
            advance(1)


class Progress:
    """The bar of a run on standard error: loss, images/s, waiting for data, teacher's share, k-NN, time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        console = Console(stderr=True)
        self._bar = RichProgress(
            # Within 80 columns, with the figures of a long run.
            BarColumn(bar_width=8),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=console,
            # Into a file, rich would write the bar as text; what is worth keeping is in metrics.jsonl.
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("train", text="")
        self._knn = ""

    @contextmanager
    def running(self, steps: int, done: int) -> Iterator[None]:
        """Show the bar of `steps` steps while the block runs; it stays as it stands then."""
        self._bar.update(self._task, total=steps, completed=done)
        _SHOWN.append(self)
        with self._bar:
            try:
                yield
            finally:
                _SHOWN.remove(self)

    def update(self, step: int, row: dict[str, Any]) -> None:
        """Show a row of the metrics."""
        text = f"loss {row['loss']:.2f} {row['images_per_s']:.0f} img/s wait {100 * row['data_wait']:.0f}%"
        if "teacher_share" in row:
            text += f" teacher {100 * row['teacher_share']:.0f}%"
        self._bar.update(self._task, completed=step, text=text + self._knn)

    def note(self, knn: float) -> None:
        """Show the monitor's last figure."""
        self._knn = f" k-NN {knn:.1f}%"


# Terminals show one live bar at a time.
_SHOWN: list[Progress] = []
