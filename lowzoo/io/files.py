"""Writing files so that a reader sees the old content or the new, never a part."""

import atexit
import contextlib
import errno
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lowzoo.base.errors import LowzooError
from lowzoo.base.printable import printable


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success sync it and rename it to `path`.

    Whatever fails inside the block leaves `path` as it was and removes the temporary file.

    Args:
        path: The final name; missing parent folders are made.

    Yields:
        The temporary path to write to, with the same suffix; UTF-8 whatever the folder's name, see `plain_path`.

    Raises:
        LowzooError: The place cannot be written to, is no place for a file, or the disk is full.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        refuse_special_file(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise LowzooError(f"cannot write {path}: it is a directory", "Name a file")
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield plain_path(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def refuse_special_file(path: Path) -> None:
    """Refuse a device, a pipe or a stream as the place of a file: the new one would take away its name.

    Raises:
        LowzooError: It is one, such as /dev/null or /dev/stdout.
    """
    special = path.exists() and not path.is_file() and not path.is_dir()
    # What /dev/stdout leads to may be a plain file; its own name is still that of a stream.
    if special or (path.is_symlink() and path.readlink().is_relative_to("/proc")):
        raise LowzooError(f"cannot write {path}: it is a device, a pipe or a stream", "Name a plain file with --out")


def cannot_write(path: Path, error: OSError) -> LowzooError:
    """What to say where the file or folder `path` could not be written."""
    reason = error.strerror or str(error)
    if error.errno == errno.ENOENT and path.parent.is_dir():
        # /proc and its like say of a new file that it does not exist.
        reason = f"no file can be made in the folder {path.parent}"
    remedy = "Free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Name another place with --out"
    return LowzooError(f"cannot write {path}: {reason}", remedy)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8; names in it that are not show their bytes, see `printable`.

    Raises:
        LowzooError: See `atomic_path`.
    """
    write_bytes(path, printable(text).encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically.

    Raises:
        LowzooError: See `atomic_path`.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def writable_folder(path: Path) -> Path:
    """Make the folder `path` and prove that it can be written to.

    Raises:
        LowzooError: It is a file, or cannot be made or written to.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.ENOENT:
            # /proc and its like say of a new file that it does not exist.
            reason = "no file can be made there"
        elif path.exists() and not path.is_dir():
            reason = "it is a file"
        raise LowzooError(f"cannot write to the folder {path}: {reason}", "Name another place with --out") from error
    return path


def plain_path(path: Path) -> Path:
    """A path to the same file that is UTF-8: libraries that are not Python's own take no other.

    Where a folder's name is not, a link in a temporary folder stands for it until this process ends; where the name
    itself is not, one for the file.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        readable = printable(path.name) == path.name
        target = path.absolute().parent if readable else path.absolute()
        return _link(target) / path.name if readable else _link(target)
    return path


@functools.cache
def _link(target: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lowzoo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    link = folder / f"link{printable(target.suffix)}"
    link.symlink_to(target)
    return link


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other commands from writing into the folder meanwhile, where the system and its file system know locks.

    Args:
        folder: An existing folder.

    Raises:
        LowzooError: Another command has it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    _claims.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LowzooError(
                f"another command is writing into {printable(str(folder))}", "Wait for its end, or name another folder"
            ) from None
        except OSError:  # no locks here
            pass
        yield
    finally:
        _claims.discard(descriptor)
        os.close(descriptor)


_claims = set[int]()


def _leave_claims_to_the_parent() -> None:
    """A worker that outlives a killed parent for seconds must not keep the folder from the command that resumes."""
    for descriptor in _claims:
        os.close(descriptor)
    _claims.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_claims_to_the_parent)
