"""What a download shows on stderr: a bar on a terminal, else one line; or to whoever is told."""

import contextlib
from collections.abc import Callable, Iterator

from lowzoo.data.progress import plain_line, shows_bars

Show = Callable[[int, int | None], None]


@contextlib.contextmanager
def shown(name: str) -> Iterator[Show]:
    """Show a download while the block runs.

    Args:
        name: Name of the file.

    Yields:
        A function to call with the bytes that have arrived and those of the whole file, if known.
    """
    if not shows_bars():
        plain_line(f"Downloading {name}")
        yield lambda arrived, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(20), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name[-24:], total=None)
        yield lambda arrived, total: bar.update(task, completed=arrived, total=total)
