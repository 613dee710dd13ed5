"""A temporary folder for what a library would leave in the system's own until the process ends."""

import contextlib
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def scratch() -> Iterator[None]:
    """Let whatever asks `tempfile` for a place meanwhile have one in a folder that is deleted afterwards.

    coremltools keeps a copy of each package that it made until Python ends, 20 MB and more each: a notebook that
    exports in a loop fills the disk.
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="lowzoo-", ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before
