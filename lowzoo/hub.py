"""Files of the Hugging Face Hub: fetched, or taken from the cache, and checked against the digest that the Hub states.

Tokens, endpoint (`HF_ENDPOINT`), cache (`HF_HOME`, `cache_dir`) and offline mode (`HF_HUB_OFFLINE`) are the Hub's own.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from lowzoo.errors import LowzooError, reason_of
from lowzoo.weights_file import sha256

FILES = ("config.json", "model.safetensors")
_ATTEMPTS = 3


def fetch_model(repository: str, cache_dir: str | Path | None = None) -> tuple[Path, str]:
    """Fetch configuration and weights of a model, or take them from the cache.

    Args:
        repository: `ORG/NAME` or `ORG/NAME@REVISION`. A full commit sha that is in the cache needs no network.
        cache_dir: Instead of the Hub's own cache.

    Returns:
        The folder that holds `config.json` and `model.safetensors`, and the commit sha they belong to.

    Raises:
        LowzooError: No such repository, revision or file, not in the cache and no way to the Hub, or a damaged file.
    """
    return fetch_files(repository, FILES, cache_dir)


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

    for attempt in range(_ATTEMPTS):
        try:
            return Path(hf_hub_download(name, file, revision=revision, cache_dir=cache_dir))
        except (EntryNotFoundError, HfHubHTTPError):
            raise
        except OSError as error:
            if error.errno is not None or attempt == _ATTEMPTS - 1:  # a number is the operating system's: a full disk
                raise
    raise AssertionError("the last attempt returns or raises")


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
            f"{name} is no repository name of the Hub", "Write hf-hub:ORG/NAME or hf-hub:ORG/NAME@SHA"
        ) from error
    except LocalEntryNotFoundError as error:  # stands first: it is also an EntryNotFoundError
        pin = f" --revision {revision}" if revision else ""
        raise LowzooError(
            f"{name}{at} is not in the local cache and the Hub cannot be reached",
            f"Fetch it where there is a network: `hf download {name}{pin} {' '.join(files)}`",
        ) from error
    except RepositoryNotFoundError as error:
        raise LowzooError(
            f"the Hub has no repository {name}", "Check the name; for a private one log in with `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise LowzooError(
            f"the repository {name} has no revision {revision}", "Name a branch, a tag or a full commit sha"
        ) from error
    except EntryNotFoundError as error:
        raise LowzooError(
            f"the repository {name}{at} holds no {' and '.join(files)}",
            "Name a timm model repository with safetensors weights; pickled weights are not loaded",
        ) from error
    except HfHubHTTPError as error:
        raise LowzooError(f"the Hub refused {name}{at}: {reason_of(error)}", "Try again later") from error
    except OSError as error:  # consistency checks of the client, a full disk, a connection that broke off
        reason = reason_of(error)
        raise LowzooError(f"fetching {name}{at} failed: {reason}", "Run it again; what has arrived is kept") from error
