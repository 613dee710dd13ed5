"""Files that stay open while pictures are read from them, by threads and by processes that were forked."""

import functools
import io
import os

from lowzoo.data.pixels.decode import BadImage


def read_at(path: str, offset: int, size: int, where: str, what: str = "file") -> bytes:
    """Read part of a file.

    Args:
        path: Path of the file.
        offset: First byte.
        size: Bytes.
        where: Names the picture for messages.
        what: Kind of file, for messages.

    Raises:
        BadImage: It cannot be read, or is shorter.
    """
    try:
        # Every read gives its position, so a fork may share the file. A size that a hostile archive states is compared
        # before memory is taken for it.
        handle = _file(path).fileno()
        data = os.pread(handle, size, offset) if offset + size <= os.fstat(handle).st_size else b""
    except (OSError, ValueError, OverflowError) as error:
        raise BadImage(where, getattr(error, "strerror", None) or str(error)) from error
    if len(data) < size:
        raise BadImage(where, f"the {what} has become shorter")
    return data


def forget_files() -> None:
    """Open all files anew: what lies under a name may have been replaced."""
    _file.cache_clear()


@functools.lru_cache(maxsize=256)
def _file(path: str) -> io.FileIO:
    return open(path, "rb", buffering=0)
