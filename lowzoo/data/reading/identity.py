"""The identity of data: sha256 of its bytes, computed once a file and remembered.

Whatever lowzoo caches or resumes is tied to this and to nothing else, so that pictures which were replaced under their
old names are other data, and a copy at another place is the same.

A digest is remembered under the file's path, device, inode, size and times of change. The system's own time of change
(ctime) moves with every write and cannot be set back, as `touch -r` does with the other one. A file that changed within
the last seconds is not remembered: another write could follow within the same tick of the file system's clock.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from lowzoo.base.printable import printable
from lowzoo.base.progress import Pace, line_writer, progress_bar
from lowzoo.io.cache_folder import cache_folder

_FRESH_SECONDS = 3.0
_BLOCK = 1 << 20
# Of a file with more bytes it is said how far it is read.
_LARGE = 1 << 28
# Variables of one SQL statement; older libraries allow 999.
_AT_ONCE = 500
_THREADS = 8
_WINDOW = 4096
# What stands for the content of a file that cannot be read: it is not there for any purpose.
UNREADABLE = bytes(32)


def file_digests(paths: Sequence[str], *, title: str = "checking images") -> list[bytes]:
    """The sha256 of each file (32 bytes), `UNREADABLE` for one that cannot be read; read only where not remembered."""
    say = line_writer()
    return remembered("digest", paths, lambda path: _digest_of(path, title, say), title=title)


def remembered(
    what: str, paths: Sequence[str], compute: Callable[[str], bytes], *, title: str, absent: bytes = UNREADABLE
) -> list[bytes]:
    """What `compute` finds in each file, computed only for those that changed since the last time.

    Args:
        what: Name of the fact, part of what it is remembered under.
        paths: The files.
        compute: From a path to a few bytes; runs in threads.
        title: Title of the progress bar.
        absent: Stands for a file that cannot be read.
    """
    states: list[_State | None] = []
    keys: list[bytes | None] = []
    with progress_bar(f"{title}: what is known of them", len(paths), wanted=len(paths) > _WINDOW) as advance:
        for path in paths:
            state = _state(path)
            states.append(state)
            name = b"" if state is None else f"{what}\0{state}\0".encode() + os.fsencode(os.path.abspath(path))
            keys.append(sha256(name).digest() if name else None)
            if len(keys) % _AT_ONCE == 0:
                advance(_AT_ONCE)
    with _store() as store:
        known = store.read([key for key in keys if key is not None])
        found = [absent if key is None else known.get(key, b"") for key in keys]
        missing = [i for i, value in enumerate(found) if not value]
        if not missing:
            return found
        began = time.time_ns()

        def one(i: int) -> bytes:
            try:
                return compute(paths[i])
            except OSError:
                return absent

        with ThreadPoolExecutor(_THREADS) as pool, progress_bar(title, len(missing)) as advance:
            # Written now and then: what was read before a kill is not read again.
            for start in range(0, len(missing), _WINDOW):
                window = missing[start : start + _WINDOW]
                rows: list[tuple[bytes, bytes]] = []
                for i, value in zip(window, pool.map(one, window), strict=True):
                    found[i] = value
                    key, state = keys[i], states[i]
                    # A file that changed while it was read has another state by now.
                    settled = state is not None and state.changed_ns < began - int(_FRESH_SECONDS * 1e9)
                    if key is not None and settled and value != absent and _state(paths[i]) == state:
                        rows.append((key, value))
                    advance(1)
                store.write(rows)
    return found


def remembered_of(what: str, identity: str, compute: Callable[[], bytes]) -> bytes:
    """What `compute` finds in the data of this identity, computed once.

    Args:
        what: Name of the fact.
        identity: Identity of the content it is computed from.
        compute: Gives at least one byte.
    """
    key = sha256(f"{what}\0{identity}".encode()).digest()
    with _store() as store:
        found = store.read([key]).get(key)
        if found is None:
            found = compute()
            store.write([(key, found)])
    return found


def joint_digest(digests: Sequence[bytes]) -> str:
    """One identity for many in their order, in hexadecimal."""
    return sha256(b"".join(digests)).hexdigest()


class _State(tuple[int, int, int, int, int]):
    """Device, inode, size, time of change of the content, and of anything, in nanoseconds."""

    __slots__ = ()

    @property
    def changed_ns(self) -> int:
        return max(self[3], self[4])


def _state(path: str) -> _State | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return _State((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


def _digest_of(path: str, title: str, say: Callable[[str], None]) -> bytes:
    digest, pace, done = sha256(), Pace(), 0
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        while block := file.read(_BLOCK):
            digest.update(block)
            done += len(block)
            if size > _LARGE and pace.due():
                say(f"{title}: {printable(os.path.basename(path))}, {done / 1e9:.1f} of {size / 1e9:.1f} GB")
    return digest.digest()


class _Store:
    """A table of bytes by bytes. Without a place for it nothing is remembered, and nothing fails."""

    def __init__(self, path: Path) -> None:
        self._database: sqlite3.Connection | None = None
        with contextlib.suppress(OSError, sqlite3.Error):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._open(path)
            except sqlite3.OperationalError:  # locked, or nothing may be written here
                raise
            except sqlite3.DatabaseError:  # damaged: what it held is computed again
                self.close()
                path.unlink()
                self._open(path)

    def _open(self, path: Path) -> None:
        self._database = sqlite3.connect(path, timeout=10)
        self._database.execute("CREATE TABLE IF NOT EXISTS facts (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")

    def read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        if self._database is None:
            return found
        with contextlib.suppress(sqlite3.Error):
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                found.update(self._database.execute(f"SELECT key, value FROM facts WHERE key IN ({marks})", some))
        return found

    def write(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error), self._database:
                self._database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


@contextlib.contextmanager
def _store() -> Iterator[_Store]:
    store = _Store(cache_folder("identity") / "files.sqlite")
    try:
        yield store
    finally:
        store.close()
