"""Model repositories of the Hugging Face Hub, fetched as a folder of two files."""

from pathlib import Path

from lowzoo.errors import LowzooError

FILES = ("config.json", "model.safetensors")


def fetch_model(repository: str) -> tuple[Path, str]:
    """Fetch configuration and weights, or take them from the cache; tokens, endpoint and offline mode are the Hub's.

    Args:
        repository: `ORG/NAME` or `ORG/NAME@REVISION`. A full commit sha that is in the cache needs no network.

    Returns:
        The folder that holds `config.json` and `model.safetensors`, and the commit sha they belong to.

    Raises:
        LowzooError: No such repository, revision or file, or not in the cache and no way to the Hub.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, _, revision = repository.partition("@")
    at = f" at revision {revision}" if revision else ""
    try:
        paths = [Path(hf_hub_download(name, file, revision=revision or None)) for file in FILES]
    except HFValidationError as error:
        raise LowzooError(
            f"{repository} is no repository name of the Hub", "Write hf-hub:ORG/NAME or hf-hub:ORG/NAME@SHA"
        ) from error
    except LocalEntryNotFoundError as error:  # stands first: it is also an EntryNotFoundError
        pin = f" --revision {revision}" if revision else ""
        raise LowzooError(
            f"{name}{at} is not in the local cache and the Hub cannot be reached",
            f"Fetch it where there is a network: `hf download {name}{pin} {' '.join(FILES)}`",
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
            f"the repository {name}{at} holds no {' and '.join(FILES)}",
            "Name a timm model repository with safetensors weights; pickled weights are not loaded",
        ) from error
    except HfHubHTTPError as error:
        raise LowzooError(f"the Hub refused {name}{at}: {str(error).splitlines()[0]}", "Try again later") from error
    return paths[0].parent, paths[0].parent.name
