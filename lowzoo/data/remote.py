"""Images at an address (s3://, gs://, https://, ...): fetched once into the cache folder, then read like any others.

The copy is named by the address and by what the server says of each file (checksum, time of change, size), so a set
that changed there is fetched again. Only what lowzoo reads is fetched.
"""

import posixpath
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.progress import progress_bar
from lowzoo.data.pixels.formats import PICTURE_EXTENSIONS, extension
from lowzoo.data.reading.found import HIDDEN, kinds_of
from lowzoo.data.reading.kinds import HIDDEN_FOLDERS, member_name
from lowzoo.data.stores.shards import expand_braces
from lowzoo.io.cache_folder import cache_folder
from lowzoo.io.files import atomic_path

FILE_PREFIX = "file://"
_ARCHIVES = (".parquet", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".zip")
# What servers call that which changes with a file.
_VERSIONS = ("etag", "md5hash", "crc32c", "content-md5", "content_md5", "digest", "checksum", "generation", "versionid",
             "last-modified", "lastmodified", "last_modified", "mtime", "updated", "created")  # fmt: skip
_THREADS = 8
# What stays free on the disk, as a full one breaks other programs too.
_RESERVE = 256 << 20


@dataclass(frozen=True, slots=True)
class Fetched:
    """A copy on this machine.

    Args:
        path: The folder or file.
        left_out: What lay at the address and was not fetched, by kind.
        notes: What to say.
    """

    path: Path
    left_out: Mapping[str, int]
    notes: tuple[str, ...]


def is_address(source_spec: str) -> bool:
    """Tell whether a word is an address."""
    scheme, found, _ = source_spec.partition("://")
    return bool(found) and scheme.replace("+", "").replace("-", "").isalnum()


def path_of(source_spec: str) -> Path:
    """The path in an address of this machine."""
    return Path(unquote(source_spec.removeprefix(FILE_PREFIX).removeprefix("localhost")))


def fetch(source_spec: str) -> Fetched:
    """Fetch what an address means: one file, a folder, or tars by a pattern with braces.

    Raises:
        LowzooError: What reads such addresses is not installed, nothing is there, or there is no room for it.
    """
    words = expand_braces(source_spec) if "{" in source_spec else [source_spec]
    scheme = source_spec.partition("://")[0].lower()
    system = _system(source_spec, scheme)
    if scheme in ("http", "https"):
        for one in words:
            if not _is_wanted(_base(one)):
                raise LowzooError(
                    f"{_shown(one)} is no single file with images, and the web has no folders to list",
                    f"Name a picture or a file that ends in {', '.join(_ARCHIVES)}",
                )
    files, left_out = _listing(system, words, source_spec)
    facts = [f"{name} {_version(info)}" for name, (_, info) in sorted(files.items())]
    key = sha256("\n".join([source_spec, *facts]).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    known = all(_version(info) for _, info in files.values())
    single = len(words) == 1 and list(files) == [_base(source_spec)]
    # The last part of the address gives the set its name.
    folder = cache_folder("remote") / key / (_safe(_base(words[0])) if not single else "")
    target = folder / next(iter(files)) if single else folder
    notes = []
    done = cache_folder("remote") / key / ".complete"
    if not known:
        notes.append(f"{_shown(source_spec)} does not say whether it has changed, so it is fetched each time")
    if not known or not done.is_file():
        _fetch(system, source_spec, files, folder, known=known)
        with atomic_path(done) as temporary:
            temporary.write_text(f"{_shown(source_spec)}\n")
    notes.append(f"{_shown(source_spec)} was fetched into {folder}")
    return Fetched(target, left_out, tuple(notes))


def _system(source_spec: str, scheme: str) -> Any:
    import fsspec
    from fsspec.registry import known_implementations

    if scheme not in fsspec.available_protocols():
        raise LowzooError(
            f"{source_spec} is an address of an unknown kind ({scheme}://)", "Use s3://, gs:// or https://"
        )
    try:
        return fsspec.filesystem(scheme)
    except (ImportError, ValueError) as error:
        packages = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}
        packages |= dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs")
        stated = str(known_implementations.get(scheme, {}).get("err", error))
        package = packages.get(scheme)
        raise LowzooError(
            f"addresses of {scheme}:// need {package or 'another package'}" + ("" if package else f": {stated}"),
            f"Run: pip install {package}" if package else "Install it",
        ) from error
    except Exception as error:  # of the backend, e.g. for credentials that are not there
        raise LowzooError(
            f"cannot open {_shown(source_spec)}: {reason_of(error)}", "Check the address and your credentials"
        ) from error


def _listing(
    system: Any, words: list[str], source_spec: str
) -> tuple[dict[str, tuple[str, dict[str, Any]]], Counter[str]]:
    """What is to be fetched, by its name in the copy: its own path and what the server says of it."""
    files: dict[str, tuple[str, dict[str, Any]]] = {}
    left_out: Counter[str] = Counter()
    for one in words:
        path = one if urlsplit(one).scheme in ("http", "https") else system._strip_protocol(one)
        info = _guarded(one, partial(system.info, path))
        if info.get("type") != "directory":
            name = _safe(_base(one))
            files[name if name not in files else f"{len(files)}-{name}"] = (path, info)
            continue
        entries = _guarded(one, partial(system.find, path, detail=True))
        for name, entry in entries.items():
            inside = member_name(str(name).removeprefix(str(path)))
            parts = inside.split("/")
            if not inside or str(name).endswith("/"):
                continue  # what stands for a folder
            if inside in files:
                raise LowzooError(f"two files below {_shown(one)} have the name {inside}", "Rename one of them")
            if any(part.startswith(HIDDEN_FOLDERS) for part in parts):
                left_out[HIDDEN] += 1
            elif _is_wanted(parts[-1]) or not extension(parts[-1]):
                files[inside] = (name, entry)
            else:
                left_out.update(kinds_of([parts[-1]]))
    if not files:
        raise LowzooError(f"nothing that holds images lies at {_shown(source_spec)}", "Check the address")
    return files, left_out


def _fetch(
    system: Any, source_spec: str, files: Mapping[str, tuple[str, dict[str, Any]]], folder: Path, *, known: bool
) -> None:
    missing = [(name, path) for name, (path, _) in files.items()]
    size = sum(int(info.get("size") or 0) for _, info in files.values())
    remedy = "Free some space or set LOWZOO_CACHE to a folder that has some"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LowzooError(f"cannot write to {folder}: {error.strerror}", remedy) from error
    free = shutil.disk_usage(folder).free
    if size + _RESERVE > free:
        raise LowzooError(
            f"{_shown(source_spec)} holds {size / 1e9:.1f} GB, and {folder} has room for "
            f"{max(0, free - _RESERVE) / 1e9:.1f} GB",
            remedy,
        )

    def one(item: tuple[str, str]) -> None:
        name, path = item
        if known and (folder / name).is_file():
            return  # from a call that did not come to its end
        with atomic_path(folder / name) as temporary:
            _guarded(path, lambda: system.get_file(path, str(temporary)))

    with ThreadPoolExecutor(_THREADS) as pool, progress_bar(f"fetching {_base(source_spec)}", len(missing)) as advance:
        for _ in pool.map(one, missing):
            advance(1)


def _guarded(source_spec: str, action: Callable[[], Any]) -> Any:
    """Run `action`; what a backend says about its failure becomes one line: they share no base."""
    try:
        return action()
    except (LowzooError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise LowzooError(
            f"{_shown(source_spec)} does not exist or cannot be reached", "Check the address and the network"
        ) from error
    except Exception as error:
        raise LowzooError(
            f"cannot fetch {_shown(source_spec)}: {reason_of(error)}",
            "Check the address, the network and your credentials",
        ) from error


def _version(info: Mapping[str, Any]) -> str:
    facts = {str(key).lower(): value for key, value in info.items()}
    stated = [f"{key}={facts[key]}" for key in _VERSIONS if facts.get(key)]
    return " ".join([*stated, f"size={info.get('size')}"]) if stated else ""


def _is_wanted(name: str) -> bool:
    return name.lower().endswith(_ARCHIVES) or extension(name) in PICTURE_EXTENSIONS


def _base(source_spec: str) -> str:
    return (
        unquote(posixpath.basename(urlsplit(source_spec).path.rstrip("/"))) or urlsplit(source_spec).netloc or "images"
    )


def _safe(name: str) -> str:
    return member_name(name.replace("\0", "")).replace("/", "_")[:200] or "images"


def _shown(source_spec: str) -> str:
    """An address without what may be secret in it: the user and password, and what stands behind a question mark."""
    if not is_address(source_spec):
        return source_spec
    parts = urlsplit(source_spec)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
