"""Compressed tars, unpacked once into the cache folder: single pictures cannot be read from within a stream."""

import bz2
import gzip
import lzma
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from lowzoo.base.errors import LowzooError
from lowzoo.base.progress import progress_bar
from lowzoo.data.reading.identity import UNREADABLE, file_digests
from lowzoo.io.cache_folder import cache_folder
from lowzoo.io.files import atomic_path

COMPRESSED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.zst")
_OPENERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_BLOCK = 1 << 20
# What stays free on the disk, as a full one breaks other programs too.
_RESERVE = 64 << 20


def unpacked_tar(path: Path) -> Path:
    """Give a tar that is not compressed: the file itself, or its content in the cache folder, by what it begins with.

    Raises:
        LowzooError: It cannot be read, is damaged, or there is no room for it.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise LowzooError(f"cannot read {path}: {error.strerror}", "Name tars that exist") from error
    if head.startswith(_ZSTANDARD):
        raise LowzooError(f"{path} is compressed by Zstandard, which is not read", "Unpack it, or use gzip or xz")
    opener = next((opener for mark, opener in _OPENERS.items() if head.startswith(mark)), None)
    if opener is None:
        return path
    (digest,) = file_digests([str(path)], title="checking tars")
    if digest == UNREADABLE:
        raise LowzooError(f"cannot read {path}", "Check the file and its disk")
    target = cache_folder("tars") / f"{digest.hex()[:24]}.tar"
    if not target.is_file():
        _unpack(path, opener, target)
    return target


def _unpack(path: Path, opener: Callable[[IO[bytes]], Any], target: Path) -> None:
    remedy = "Free some space, set LOWZOO_CACHE to a folder that has some, or unpack it yourself"
    try:
        with (
            atomic_path(target) as temporary,
            path.open("rb") as packed,
            temporary.open("wb") as out,
            progress_bar(f"unpacking {path.name}", path.stat().st_size) as advance,
            opener(packed) as stream,
        ):
            done = 0
            while block := _read(stream, path):
                if shutil.disk_usage(temporary.parent).free < _RESERVE + len(block):
                    raise LowzooError(f"the disk is full: cannot unpack {path} into {target.parent}", remedy)
                out.write(block)
                at = packed.tell()
                advance(at - done)
                done = at
    except LowzooError as error:
        if error.message.startswith("cannot write"):
            raise LowzooError(f"cannot unpack {path}: {error.message}", remedy) from error
        raise


def _read(stream: Any, path: Path) -> bytes:
    try:
        block: bytes = stream.read(_BLOCK)
        return block
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        reason = "it is cut off" if isinstance(error, EOFError) else str(error)
        raise LowzooError(f"cannot unpack {path}: {reason}", "Fetch it again") from error
