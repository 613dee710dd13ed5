"""Whether an artifact still is what its export wrote, byte for byte.

Values alone cannot tell: one changed weight of millions may move the features by less than any bound. So the metadata
of an artifact hold the SHA-256 of its bytes, computed with the hash's own digits as zeros. It finds damage and edits.
It is no signature: whoever means to deceive can compute it again.
"""

import contextlib
import hashlib
import mmap
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from lowzoo.export.artifacts.places import tree

SEAL = "lowzoo.content"
UNSEALED = f"sha256:{'0' * 64}"
_PIECE = 2**24
_ZIP = b"PK\x03\x04"
_STATED = re.compile(r"sha256:[0-9a-f]{64}")


def seal(path: Path) -> None:
    """Put the hash of an artifact's bytes in the place that its metadata keep for it, `UNSEALED`.

    An artifact without that place is left as it is: a format may keep no metadata. So is a ZIP archive, whose own
    checksums would no longer fit.
    """
    hole = UNSEALED.encode()
    holes = []
    for file in tree(path):
        with _held(file) as held:
            if held[: len(_ZIP)] == _ZIP:
                return
            holes += [(file, place) for place in _places(held, hole)]
    if not holes:
        return
    digest = _digest(path, hole).encode()
    for file, place in holes:
        with file.open("r+b") as opened:
            opened.seek(place)
            opened.write(digest)


def is_unchanged(path: Path, notes: Mapping[str, str]) -> bool | None:
    """Whether no byte of an artifact changed since its export.

    Args:
        path: The artifact.
        notes: Its metadata.

    Returns:
        None if it does not say what its bytes were.
    """
    stated = str(notes.get(SEAL, UNSEALED))
    if stated == UNSEALED:
        return None
    if not _STATED.fullmatch(stated):
        return False
    return _digest(path, stated.encode()) == stated


def _digest(path: Path, stated: bytes) -> str:
    """SHA-256 of all files of an artifact, with zeros where `stated` is; of a folder, of their names too."""
    total = hashlib.sha256()
    for file in tree(path):
        if path.is_dir():
            total.update(f"{file.relative_to(path).as_posix()}\n".encode(errors="surrogateescape"))
        for piece in _pieces(file, stated):
            total.update(piece)
    return f"sha256:{total.hexdigest()}"


def _pieces(file: Path, stated: bytes) -> Iterator[bytes]:
    """The bytes of a file, with zeros where `stated` is."""
    with _held(file) as held:
        at = 0
        for place in _places(held, stated):
            yield from (held[start : min(start + _PIECE, place)] for start in range(at, place, _PIECE))
            yield UNSEALED.encode()
            at = place + len(stated)
        yield from (held[start : start + _PIECE] for start in range(at, len(held), _PIECE))


def _places(held: mmap.mmap | bytes, wanted: bytes) -> Iterator[int]:
    place = held.find(wanted)
    while place >= 0:
        yield place
        place = held.find(wanted, place + len(wanted))


@contextlib.contextmanager
def _held(file: Path) -> Iterator[mmap.mmap | bytes]:
    """The bytes of a file without reading all of them into memory; an empty file cannot be mapped."""
    if not file.stat().st_size:
        yield b""
        return
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as held:
        yield held
