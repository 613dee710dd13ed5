"""Where an artifact is put: a file, two, or a folder, that appears whole or not at all."""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lowzoo.base.errors import LowzooError
from lowzoo.export.spec.large import data_files
from lowzoo.io.files import cannot_write, plain_path, refuse_special_file
from lowzoo.io.safetensors_file import sha256

# Bytes that the least artifact needs.
_LITTLE = 2**16


@contextlib.contextmanager
def atomic_place(path: Path, *, folder: bool, needed: int = 0) -> Iterator[Path]:
    """Give a temporary name in a folder beside `path`, which takes its place when the block succeeds.

    Further files that the block puts beside the temporary name, such as the weights of a large model, come along.

    Args:
        path: The final name.
        folder: An artifact that is a folder: the temporary one is made, and may replace another artifact.
        needed: Bytes that the block writes at least.

    Raises:
        LowzooError: The place cannot be written to, or is a folder of something else.
    """
    beside: Path | None = None
    given: Path | None = None
    try:
        refuse_special_file(path)
        if folder and path.exists() and not (path / "Manifest.json").is_file():
            what = "a folder of something else" if path.is_dir() else "a file"
            raise LowzooError(f"cannot write {path}: it is {what}", "Name another place with --out")
        if not folder and path.is_dir():
            raise LowzooError(f"cannot write {path}: it is a directory", "Name a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.stem}.", dir=path.parent))
        yield (given := plain_path(beside / path.name))
        _put(beside / path.name, path, folder)
    except OSError as error:
        raise cannot_write(path, error) from error
    except Exception as error:
        # Tools in C++ leave a short file and blame something else, or nothing.
        if beside is not None and (full := _full(beside, needed)):
            raise cannot_write(path, full) from full
        if not isinstance(error, LowzooError) or given is None or str(given) not in error.message:
            raise
        # The temporary name is nobody's business, and is gone when this is read.
        raise type(error)(error.message.replace(str(given), str(path)), error.remedy) from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


def _full(beside: Path, needed: int) -> OSError | None:
    """What the system says where there is no room beside the artifact, or not even a little among temporary files.

    Args:
        beside: The folder of the temporary name, with what was written so far.
        needed: Bytes that belong into it; some tools take away what they could not finish.
    """
    room = shutil.disk_usage(beside).free + sum(each.stat().st_size for each in beside.rglob("*") if each.is_file())
    if room < needed:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for folder in (str(beside), tempfile.gettempdir()):
        try:
            with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
                probe.write(bytes(_LITTLE))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return error
    return None


def _put(temporary: Path, path: Path, folder: bool) -> None:
    fresh = [file for file in temporary.parent.iterdir() if file != temporary]
    stale = [] if folder else data_files(path)
    for file in [temporary, *fresh] if not folder else []:
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())
    for file in fresh:
        place = path.parent / file.name
        if place.exists() and place not in stale:
            raise LowzooError(f"cannot write {place}: it exists and belongs to something else", "Name another --out")
    if folder and path.exists():
        path.replace(temporary.parent / "before")
    if fresh or stale:
        # Two files cannot change places at once: without the first one nobody reads the second one of another export.
        path.unlink(missing_ok=True)
    for file in fresh:
        file.replace(path.parent / file.name)
    temporary.replace(path)
    for file in stale:
        if file.name not in {each.name for each in fresh}:
            file.unlink(missing_ok=True)


def tree(path: Path) -> list[Path]:
    """The files of an artifact: itself and its weights where those lie beside it, or what its folder holds, sorted.

    Hidden files in a folder are left out: a file manager puts them there, such as `.DS_Store`.
    """
    if path.is_file():
        return [path, *data_files(path)]
    return sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))


def size_of(path: Path) -> int:
    """Bytes of an artifact."""
    return sum(file.stat().st_size for file in tree(path))


def digest_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of a folder or of a file in two parts."""
    files = tree(path)
    if files == [path]:
        return sha256(path)
    root = path if path.is_dir() else path.parent
    digest = hashlib.sha256()
    for file in files:
        name = file.relative_to(root).as_posix()
        digest.update(f"{name}\n{file.stat().st_size}\n".encode(errors="surrogateescape"))
        with file.open("rb") as opened:
            while part := opened.read(2**24):
                digest.update(part)
    return digest.hexdigest()
