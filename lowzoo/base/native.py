"""What libraries print from C++, past Python's own streams: kept off the console, and read where it tells something."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def native_quiet() -> Iterator[Callable[[], str]]:
    """Keep what is written to the descriptors 1 and 2 off the console; gives a function to what was written so far.

    A runtime says why it cannot load a file on its standard error alone, and one prints a line when it is imported,
    which would stand before the JSON that a command prints.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    with tempfile.TemporaryFile() as taken:
        kept: list[tuple[int, int]] = []
        try:
            for descriptor in (1, 2):
                with contextlib.suppress(OSError):  # closed by whoever started this process
                    kept.append((descriptor, os.dup(descriptor)))
                    os.dup2(taken.fileno(), descriptor)

            def said() -> str:
                taken.seek(0)
                return taken.read().decode(errors="replace")

            yield said
        finally:
            for descriptor, copy in kept:
                os.dup2(copy, descriptor)
                os.close(copy)
