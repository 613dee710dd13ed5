"""Where an artifact is put: a file or a folder that appears whole or not at all."""

import contextlib
import errno
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lowzoo.errors import LowzooError
from lowzoo.files import atomic_path
from lowzoo.weights_file import sha256


@contextlib.contextmanager
def atomic_place(path: Path, *, folder: bool) -> Iterator[Path]:
    """Give a temporary name beside `path`, which takes its place when the block succeeds.

    Args:
        path: The final name.
        folder: An artifact that is a folder: the temporary one is made, and may replace another artifact.

    Raises:
        LowzooError: The place cannot be written to, or is a folder of something else.
    """
    if not folder:
        with atomic_path(path) as temporary:
            yield temporary
        return
    if path.exists() and not (path / "Manifest.json").is_file():
        what = "a folder of something else" if path.is_dir() else "a file"
        raise LowzooError(f"cannot write {path}: it is {what}", "Name another place with --out")
    beside: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.stem}.", dir=path.parent))
        temporary = beside / path.name
        yield temporary
        if path.exists():
            path.replace(beside / "before")
        temporary.replace(path)
    except OSError as error:
        remedy = "Free some space" if error.errno == errno.ENOSPC else "Name another place with --out"
        raise LowzooError(f"cannot write {path}: {error.strerror or error}", remedy) from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


def tree(path: Path) -> list[Path]:
    """The files of an artifact: itself, or what its folder holds, sorted."""
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def size_of(path: Path) -> int:
    """Bytes of an artifact."""
    return sum(file.stat().st_size for file in tree(path))


def digest_of(path: Path) -> str:
    """SHA-256 of a file, or of a folder's names and contents."""
    if path.is_file():
        return sha256(path)
    digest = hashlib.sha256()
    for file in tree(path):
        digest.update(f"{file.relative_to(path).as_posix()}\n{file.stat().st_size}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
