"""Lines of progress on stderr, beside bars, tables and codes."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any


class _Stderr:
    bars = True

    def __call__(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def on_stderr(_: Mapping[str, Any], __: bool) -> Iterator[Callable[[str], None]]:
    """Follow a command there, whatever is printed in the end."""
    yield _Stderr()
