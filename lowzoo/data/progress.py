"""The bar on stderr for what may take more than two seconds."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextlib.contextmanager
def progress_bar(description: str, total: int, *, wanted: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs; it vanishes at the end.

    Args:
        description: What is counted.
        total: How many there are.
        wanted: False shows nothing.

    Yields:
        A function to call with the number of items done since the last call.
    """
    console = Console(file=sys.stderr)
    # Into a file, rich would write empty lines where the bar has been.
    if not (wanted and console.is_terminal):
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.advance(task, done)
