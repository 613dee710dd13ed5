"""Files of the Hugging Face Hub: fetched, or taken from the cache, and checked against the digest that the Hub states.

Tokens, endpoint (`HF_ENDPOINT`), cache (`HF_HOME`, `cache_dir`) and offline mode (`HF_HUB_OFFLINE`) are the Hub's own.
"""

import contextlib
import functools
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.io.safetensors_file import sha256

FILES = ("config.json", "model.safetensors")
_ATTEMPTS = 3
_PATIENCE = 4.0  # seconds to find out whether there is a way to the Hub


class NoRevisionError(LowzooError):
    """A revision that the repository has not, or the cache where there is no way to the Hub."""


class NoFileError(LowzooError):
    """A file that the repository has not."""


def fetch_model(repository: str, cache_dir: str | Path | None = None, *, folder: str = "") -> tuple[Path, str]:
    """Fetch configuration and weights of a model, or take them from the cache.

    Args:
        repository: `ORG/NAME` or `ORG/NAME@REVISION`. A full commit sha that is in the cache needs no network.
        cache_dir: Instead of the Hub's own cache.
        folder: Folder of the repository that the files lie in; empty for the repository itself.

    Returns:
        The folder that holds `config.json` and `model.safetensors`, and the commit sha they belong to.

    Raises:
        LowzooError: No such repository, revision or file, not in the cache and no way to the Hub, or a damaged file.
    """
    snapshot, sha = fetch_files(repository, [f"{folder}/{file}" if folder else file for file in FILES], cache_dir)
    return snapshot / folder, sha


def fetch_files(repository: str, files: Sequence[str], cache_dir: str | Path | None = None) -> tuple[Path, str]:
    """As `fetch_model`, for files that the caller names by their paths in the repository."""
    name, _, revision = repository.partition("@")
    with _explained(name, revision, files):
        paths = [_download(name, file, revision or None, cache_dir or None) for file in files]
    for path in paths:
        _check_digest(path)
    folder = paths[0].parents[len(Path(files[0]).parts) - 1]
    return folder, folder.name


def _download(name: str, file: str, revision: str | None, cache_dir: str | Path | None) -> Path:
    """One file; where the line breaks, newer clients go on by themselves, and older ones when they are called again."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    here = _cached(name, file, revision, cache_dir)
    if here is not None:
        return here
    if not reachable():
        return Path(hf_hub_download(name, file, revision=revision, cache_dir=cache_dir, local_files_only=True))
    for attempt in range(_ATTEMPTS):
        try:
            return Path(hf_hub_download(name, file, revision=revision, cache_dir=cache_dir))
        except (EntryNotFoundError, HfHubHTTPError):
            raise
        except OSError as error:
            if error.errno is not None or attempt == _ATTEMPTS - 1:  # a number is the operating system's: a full disk
                raise
    raise AssertionError("the last attempt returns or raises")


def _cached(name: str, file: str, revision: str | None, cache_dir: str | Path | None) -> Path | None:
    """A file of a full commit sha that is in the cache; for anything else the Hub has to be asked."""
    from huggingface_hub import try_to_load_from_cache

    if revision is None or not re.fullmatch(r"[0-9a-f]{40}", revision):
        return None
    found = try_to_load_from_cache(name, file, cache_dir=cache_dir, revision=revision)
    return Path(found) if isinstance(found, str) else None


def reachable() -> bool:
    """Whether there is a way to the Hub, or to the proxy before it.

    The client itself retries for half a minute, a line each time, before it says that there is no network. One look
    beforehand, remembered for the process, spares that; a network that is there keeps the client's retries.
    """
    from huggingface_hub import constants

    return bool(not constants.HF_HUB_OFFLINE and _answers(*_first_hop(constants.ENDPOINT)))


@contextlib.contextmanager
def offline_if_unreachable() -> Iterator[None]:
    """Let `datasets` and the Hub's client go straight to their caches where there is no way to the Hub."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or reachable():
        yield
        return
    import datasets.config

    before = datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = False, before


def _first_hop(endpoint: str) -> tuple[str, int]:
    """Host and port that a request to the endpoint is sent to; no host where that is not ours to tell."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    target = urlsplit(endpoint)
    proxies = {} if proxy_bypass(target.hostname or "") else getproxies()
    proxy = proxies.get(target.scheme) or proxies.get("all")
    hop = urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else target
    try:
        return hop.hostname or "", hop.port or {"https": 443, "http": 80}.get(hop.scheme, 1080)
    except ValueError:  # a port that is no number
        return "", 0


@functools.cache
def _answers(host: str, port: int) -> bool:
    """Whether a connection can be opened, asked twice; in a thread, as a look-up of names knows no time limit."""
    if not host:
        return True
    answers: list[bool] = []

    def ask() -> None:
        for pause in (0.3, 0.0):
            try:
                socket.create_connection((host, port), timeout=_PATIENCE / 2).close()
            except OSError:
                time.sleep(pause)
            else:
                answers.append(True)
                return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PATIENCE + 1)
    return bool(answers)


def _check_digest(path: Path) -> None:
    """Large files lie in the cache under the SHA-256 that the Hub states; hold the content against it."""
    stated = path.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", stated) and sha256(path) != stated:
        raise LowzooError(
            f"{path} has not the digest {stated[:12]}... that the Hub states for it",
            f"Remove {path.resolve()} and fetch it again",
        )


@contextlib.contextmanager
def _explained(name: str, revision: str, files: Sequence[str]) -> Iterator[None]:
    """Turn what the Hub's client raises into one sentence that says what to do."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    at = f" at revision {revision}" if revision else ""
    try:
        yield
    except HFValidationError as error:
        raise LowzooError(
            f"{name} is no repository name of the Hub",
            "Write hf-hub:ORG/NAME, hf-hub:ORG/NAME@SHA or hf-hub:ORG/NAME/FOLDER@SHA",
        ) from error
    except LocalEntryNotFoundError as error:  # stands first: it is also an EntryNotFoundError
        pin = f" --revision {revision}" if revision else ""
        raise NoRevisionError(
            f"{name}{at} is not in the local cache and the Hub cannot be reached",
            f"Fetch it where there is a network: `hf download {name}{pin} {' '.join(files)}`",
        ) from error
    except RepositoryNotFoundError as error:
        raise LowzooError(
            f"the Hub has no repository {name}", "Check the name; for a private one log in with `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise NoRevisionError(f"the repository {name} has no revision {revision}", _revisions(name)) from error
    except EntryNotFoundError as error:
        raise NoFileError(
            f"the repository {name}{at} holds no {' and '.join(files)}", _models(name, revision)
        ) from error
    except HfHubHTTPError as error:
        raise LowzooError(f"the Hub refused {name}{at}: {reason_of(error)}", "Try again later") from error
    except OSError as error:  # consistency checks of the client, a full disk, a connection that broke off
        reason = reason_of(error)
        raise LowzooError(f"fetching {name}{at} failed: {reason}", "Run it again; what has arrived is kept") from error


def _revisions(name: str) -> str:
    """The remedy for an unknown revision: those that there are."""
    from huggingface_hub import HfApi

    general = "Name a branch, a tag or a full commit sha"
    try:
        refs = HfApi().list_repo_refs(name)
    except Exception:  # what is known of the error is worth more than what else is wrong
        return general
    return f"{general}: there are {_some([ref.name for ref in (*refs.branches, *refs.tags)])}"


def _models(name: str, revision: str) -> str:
    """The remedy for a folder without a model: those that have one."""
    from huggingface_hub import HfApi

    general = "Name a timm model repository with safetensors weights; pickled weights are not loaded"
    try:
        siblings = HfApi().model_info(name, revision=revision or None).siblings or []
    except Exception:  # as above
        return general
    files = {sibling.rfilename for sibling in siblings}
    folders = sorted(file.removesuffix(FILES[0]) for file in files if f"/{file}".endswith(f"/{FILES[0]}"))
    at = f"@{revision}" if revision else ""
    words = [f"hf-hub:{name}/{folder}".rstrip("/") + at for folder in folders if f"{folder}{FILES[1]}" in files]
    return f"Name a folder that holds a model: {_some(words)}" if words else general


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}" if names else "none"
