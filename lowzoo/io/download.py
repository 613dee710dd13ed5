"""Fetching a published file once: resumed where it broke off, checked, and whole or not there at all.

Files lie in `~/.cache/lowzoo/downloads` (`$LOWZOO_CACHE/downloads`), one process writes at a time, and what has arrived
of an unfinished one stays beside it. An address may end in a signature (`?sv=...`); it is sent, but neither stored nor
shown.

What a download shows on stderr: a bar on a terminal, else a line now and then; or to whoever is told.

A file that is still arriving, under a name of its own until it is whole.
"""

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from lowzoo.base.errors import LowzooError
from lowzoo.base.progress import Pace, plain_line, shows_bars
from lowzoo.io.cache_folder import cache_folder

_CHUNK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte
_WAITS = (1.0, 4.0, 15.0)  # seconds before trying again; the count starts anew whenever bytes arrived
_LATER = (408, 425, 429, 500, 502, 503, 504)  # answers that may be another a moment later
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
Show = Callable[[int, int | None], None]


def downloads_folder() -> Path:
    """Where downloaded files lie; it may not exist yet."""
    return cache_folder("downloads")


def download(url: str, name: str, *, size: int | None = None, digest: str = "") -> Path:
    """The path of a file, fetched if it is not there yet.

    Args:
        url: Its https address.
        name: Relative path in the folder of downloads.
        size: Bytes, where published.
        digest: `sha256:` or `md5:` and the hexadecimal digits, or the first ones of them, where published.

    Raises:
        LowzooError: No such file, no way to it, offline by `HF_HUB_OFFLINE`, no space, or not the expected content.
    """
    path = downloads_folder() / name
    if path.is_file():
        return path
    address = _without_query(url)
    _check_address(url, address)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise LowzooError(
            f"{address} is not in the cache, and HF_HUB_OFFLINE forbids downloads",
            f"Get it where there is a network and put it at {path}",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            if not path.is_file():  # another process may have been at it
                _fetch(url, address, path, size, digest)
    except OSError as error:
        raise LowzooError(
            f"cannot store {address} as {path}: {error.strerror or error}",
            "Free some space or name another place with LOWZOO_CACHE",
        ) from error
    return path


def has_digest(path: Path, digest: str) -> bool:
    """Whether the file has this digest, `sha256:...` or `md5:...`; the first digits suffice."""
    algorithm, _, expected = digest.partition(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    return bool(expected) and found.startswith(expected.lower())


def _fetch(url: str, address: str, path: Path, size: int | None, digest: str) -> None:
    part = PartialFile(path)
    failures = 0
    with shown(path.name) as show:
        while True:
            before = part.length
            try:
                _attempt(url, address, part, size, show)
                break
            except _Unreachable as error:
                raise LowzooError(
                    f"{address} cannot be reached ({error})", f"Get it where there is a network and put it at {path}"
                ) from error
            except _BrokenOff as broken:
                failures = 0 if part.length > before else failures + 1
                if failures > len(_WAITS):
                    raise LowzooError(
                        f"{address} broke off after {part.length} bytes ({broken})",
                        "Try again later; it will continue there",
                    ) from broken
                time.sleep(_WAITS[max(failures - 1, 0)])
    if size is not None and part.length != size:
        found = part.length
        part.discard()
        raise LowzooError(f"{address} has {found} bytes instead of {size}", "Get the file elsewhere, or try later")
    if digest and not has_digest(part.data, digest):
        part.discard()
        raise LowzooError(
            f"what {address} gives has not the published digest {digest[:20]}", "Get the file elsewhere, or try later"
        )
    part.take_its_name()


class PartialFile:
    """What has arrived of a file, and the server's mark of the version it belongs to.

    Without a mark nobody can tell whether the rest would belong to it, so an unmarked part of an earlier process is
    thrown away.

    Args:
        path: Path of the whole file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path.with_name(f".{path.name}.part")
        self._note = path.with_name(f".{path.name}.part.json")
        try:
            self.mark = str(json.loads(self._note.read_text(encoding="utf-8"))["mark"])
        except (OSError, ValueError, KeyError, TypeError):
            self.mark = ""
        if not self.mark:
            self.discard()

    @property
    def length(self) -> int:
        """Bytes that have arrived."""
        return self.data.stat().st_size if self.data.exists() else 0

    def start(self, etag: str | None, modified: str | None) -> None:
        """Begin anew with the version that these headers mark; a weak etag marks none."""
        self.discard()
        self.mark = etag if etag and not etag.startswith("W/") else modified or ""
        if self.mark:
            self._note.write_text(json.dumps({"mark": self.mark}), encoding="utf-8")

    def discard(self) -> None:
        """Forget what has arrived."""
        self.data.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def take_its_name(self) -> None:
        """Give the whole file its name."""
        self.data.replace(self.path)
        self._note.unlink(missing_ok=True)


def _attempt(url: str, address: str, part: PartialFile, size: int | None, show: Show) -> None:
    """Fetch what is missing in one request.

    Raises:
        _BrokenOff: Worth another attempt.
        _Unreachable: Not even the beginning of an answer.
        LowzooError: Not worth one.
    """
    headers = {"User-Agent": f"lowzoo/{version('lowzoo')}", "Accept-Encoding": "identity"}
    have = part.length if part.mark else 0
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": part.mark}
    try:
        response = _OPENER.open(Request(url, headers=headers), timeout=_TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.discard()  # what is there does not belong to what is offered now
            raise _BrokenOff("the file has changed") from None
        if error.code in _LATER:
            raise _BrokenOff(f"HTTP {error.code}") from None
        raise LowzooError(f"{address} answers {error.code} {error.reason}", _remedy(error.code)) from None
    except (URLError, OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise _Unreachable(str(reason)) from None
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        total = _total(response, have)
        if size is not None and total is not None and total != size:
            raise LowzooError(f"{address} has {total} bytes instead of {size}", "Get the file elsewhere, or try later")
        if total is not None and shutil.disk_usage(part.data.parent).free < total - have:
            raise LowzooError(
                f"{address} needs {(total - have) / 1e6:.0f} MB more than are free in {part.data.parent}",
                "Free some space or name another place with LOWZOO_CACHE",
            )
        if not have:
            part.start(response.headers.get("ETag"), response.headers.get("Last-Modified"))
        with part.data.open("ab") as file:
            for chunk in _chunks(response):
                file.write(chunk)
                show(file.tell(), total)
            file.flush()
            os.fsync(file.fileno())
    if total is not None and part.length != total:
        raise _BrokenOff(f"{total} bytes were announced")


def _chunks(response: IO[bytes]) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read(_CHUNK)
        except http.client.IncompleteRead as error:
            yield error.partial
            return
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenOff(str(error)) from None
        if not chunk:
            return
        yield chunk


def _total(response: http.client.HTTPResponse, have: int) -> int | None:
    """Bytes of the whole file, if the server says so."""
    length = response.headers.get("Content-Length")
    if have:
        start, _, rest = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")
        if start != str(have):
            raise _BrokenOff("the server sent another part than asked for")
        whole = rest.partition("/")[2]
        return int(whole) if whole.isdigit() else None
    return int(length) if length else None


class _Unreachable(Exception):
    """There is no way to the server, now."""


class _BrokenOff(Exception):
    """The transfer failed in a way that another attempt may mend."""


class _SafeRedirects(HTTPRedirectHandler):
    """Follows no redirection from https to a connection that anybody can read and change."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> Request | None:
        """As the base class, after a look at the new address."""
        _check_address(newurl, _without_query(newurl))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = build_opener(_SafeRedirects)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes away from a file; they wait."""
    from filelock import FileLock

    lock = path.with_name(f".{path.name}.lock")
    with FileLock(lock):
        yield


def _check_address(url: str, address: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise LowzooError(f"{address} is no https address", "Name one that starts with https://")


def _without_query(url: str) -> str:
    return urlsplit(url)._replace(query="", fragment="").geturl()


def _remedy(code: int) -> str:
    if code in (401, 403):
        return "Get the file from its publisher's page and name it; the address needs a permission or has expired"
    return "Get the file from its publisher's page and name it"


@contextlib.contextmanager
def shown(name: str) -> Iterator[Show]:
    """Show a download while the block runs.

    Args:
        name: Name of the file.

    Yields:
        A function to call with the bytes that have arrived and those of the whole file, if known.
    """
    if not shows_bars():
        plain_line(f"Downloading {name}")
        pace = Pace()

        def line(arrived: int, total: int | None) -> None:
            if pace.due():
                of = f" of {total / 1e6:.0f}" if total else ""
                plain_line(f"Downloading {name}: {arrived / 1e6:.0f}{of} MB")

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(20), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name[-24:], total=None)
        yield lambda arrived, total: bar.update(task, completed=arrived, total=total)
