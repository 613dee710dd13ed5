"""Lines of progress on stderr, beside bars, tables and codes."""

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lowzoo.base.progress import FIRST, Pace

_NUMBER = re.compile(r"\d+")


class _Stderr:
    bars = True

    def __call__(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def on_stderr(_: Mapping[str, Any], __: bool) -> Iterator[Callable[[str], None]]:
    """Follow a command there, whatever is printed in the end."""
    yield _Stderr()


@contextlib.contextmanager
def stages_on_stderr(title: str, prefix: str = "") -> Iterator[Callable[[str], None]]:
    """Show which stage a command is at: on a terminal all the time, elsewhere by a line after some seconds.

    What is refused at once is one line. A search for int8 takes minutes, and is told from its start. Stages that
    differ in numbers alone, such as the parts of a search, get a line now and then.

    Args:
        title: What is shown until the first stage.
        prefix: What stands before each stage on a terminal.
    """
    from rich.console import Console

    console, pace, last, started = Console(stderr=True), Pace(), "", time.monotonic()
    with console.status(title) as status:

        def say(stage: str) -> None:
            nonlocal last
            if console.is_terminal:
                status.update(f"{prefix}{stage}")
                return
            kind, late = _NUMBER.sub("", stage), time.monotonic() - started > FIRST
            if (kind != last and (late or stage.startswith("int8"))) or pace.due():
                last = kind
                print(f"{prefix}{stage}", file=sys.stderr, flush=True)

        say.bars = True  # type: ignore[attr-defined]
        yield say
