"""What may take more than two seconds shows itself: a bar on a terminal, else a plain line now and then.

The command line shows it on stderr. A function that is called from Python says nothing unless its caller gives it a
place for lines, see `told`.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context

Say = Callable[[str], None]

# A log of a night stays readable, and who looks at it after half a minute knows that it works.
FIRST, EVERY = 5.0, 30.0


# None: stderr, with bars. Else what the function that runs was given.
_TOLD: ContextVar[Say | None] = ContextVar("told", default=None)


@contextlib.contextmanager
def told(progress: Say | None) -> Iterator[Say]:
    """Send what is said while the block runs to a function instead of stderr.

    Args:
        progress: Takes lines; None is silent. One with a true attribute `bars`, as the command line's, gets the lines
            of the block itself, and what takes time stays on stderr.

    Yields:
        A function that takes lines.
    """
    say = progress or _silent
    if getattr(say, "bars", False):
        yield say
        return
    token = _TOLD.set(say)
    try:
        yield say
    finally:
        _TOLD.reset(token)


def _silent(_: str) -> None:
    pass


class Pace:
    """When a plain line is due: after some seconds, then at even intervals.

    Args:
        first: Seconds until the first.
        every: Seconds between two.
    """

    def __init__(self, first: float = FIRST, every: float = EVERY) -> None:
        self._every = every
        self._next = time.monotonic() + first

    def due(self) -> bool:
        """Whether a line is due now; if so, the next one is due an interval later."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._every
        return True


@contextlib.contextmanager
def progress_bar(description: str, total: int, *, wanted: bool = True) -> Iterator[Callable[[int], None]]:
    """Show how far the block is: by a bar that vanishes at the end or, where stderr is no terminal, by plain lines.

    Args:
        description: What is counted.
        total: How many there are; of one there are no lines.
        wanted: False shows nothing.

    Yields:
        A function to call with the number of items done since the last call.
    """
    if not wanted or _TOLD.get() is _silent:
        yield lambda _: None
        return
    # Into a file, rich would write empty lines where the bar has been; and who is told needs no rich.
    if not shows_bars():
        yield _lines(description, total)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(escape(description), total=total)
        yield lambda done: bar.advance(task, done)


def shows_bars() -> bool:
    """Whether a bar can be shown: stderr is a terminal, and nobody takes lines instead."""
    return _TOLD.get() is None and sys.stderr.isatty()


def plain_line(text: str) -> None:
    """Write a line to stderr at once, also where it goes into a file; or to whoever is told."""
    if (say := _TOLD.get()) is not None:
        say(text)
    else:
        print(text, file=sys.stderr, flush=True)


def line_writer() -> Say:
    """`plain_line` for other threads, which do not know whom to tell; does nothing where a bar is shown instead."""
    if shows_bars():
        return _silent
    context = copy_context()
    # Entered for each line by itself, as no two threads may be in one at a time.
    return lambda text: context.copy().run(plain_line, text)


def in_minutes(minutes: float) -> str:
    """Minutes with their unit: 1 minute, 2.5 minutes."""
    return f"{minutes:g} minute{'' if minutes == 1 else 's'}"


def duration(seconds: float) -> str:
    """A time for people: 42 s, 7 min, 3 h 05 min, 2 d 4 h."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def _lines(description: str, total: int) -> Callable[[int], None]:
    pace, started, count = Pace(), time.monotonic(), 0

    def advance(done: int) -> None:
        nonlocal count
        count += done
        # Of what is one step nothing can be said but that it is over, which what follows says.
        if total > 1 and count and pace.due():
            spent = time.monotonic() - started
            so_far = f"{duration(spent / count * (total - count))} left" if count < total else f"in {duration(spent)}"
            plain_line(f"{description}: {count} of {total}, {so_far}")

    return advance
