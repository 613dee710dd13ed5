"""A trained or converted model on the Hub: safetensors, a configuration that timm reads, and a card.

A run folder states in `run.json` how it was made; for any other folder the catalog has to know its weights. What a card
needs and nobody stated is asked for, never guessed, and a teacher's licence is kept to.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowzoo import catalog
from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.cards.publish_card import card_of_entry, card_of_run
from lowzoo.zoo.compatible import FILE as MAP_FILE
from lowzoo.zoo.compatible import map_of
from lowzoo.zoo.find import FOLDER_SCHEME, find
from lowzoo.zoo.resolve import load_model

FILES = ("model.safetensors", "config.json", "README.md")


@dataclass(frozen=True)
class Publication:
    """What goes to the Hub.

    Args:
        repo: `ORG/NAME`.
        config: Content of `config.json`.
        card: Content of `README.md`.
        weights: The safetensors file.
        needs_lowzoo: Whether timm alone cannot build the network.
        map: The file of the map into another model's space; None where the folder has none.
    """

    repo: str
    config: dict[str, Any]
    card: str
    weights: Path
    needs_lowzoo: bool
    map: Path | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Names of what is sent."""
        return (*FILES, *([MAP_FILE] if self.map else []))


def prepare(folder: Path, repo: str, *, model: str | None = None, license: str | None = None) -> Publication:
    """Check a folder and write its card, without touching the Hub.

    Args:
        folder: A run folder, or one of `lowzoo convert`.
        repo: `ORG/NAME`.
        model: The zoo's name of these weights, for a folder that does not state how it was made.
        license: SPDX identifier of the weights of a run; the catalog's for a model of the zoo.

    Raises:
        LowzooError: No model folder, no repository name, a fact that the card needs is missing, or a teacher's licence
            that does not allow it.
    """
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise LowzooError(f"{repo} is no repository name", "Write --repo ORG/NAME")
    found = find(f"local-dir:{folder}", pretrained=True)  # refuses what is no model folder, or is damaged
    config = json.loads((folder / "config.json").read_bytes())
    config["architecture"] = _stock_name(config["architecture"])
    needs = config["architecture"].startswith("lowzoo_") or config["architecture"] in catalog.models()
    size = found.cfg["input_size"][-1]
    map_: Path | None = None
    if model is None and (folder / "run.json").is_file():
        facts = _run_facts(folder / "run.json")
        if (folder / MAP_FILE).is_file():
            made = map_of(load_model(f"{FOLDER_SCHEME}{folder}"))[1].as_dict()
            facts["compatible"] = made | (facts.get("compatible") or {})
            map_ = folder / MAP_FILE
        card = card_of_run(facts, repo, license or "", needs_lowzoo=needs, size=size)
        stated = {"recipe": facts["recipe"], "license": license, "name": repo.partition("/")[2]}
    elif model is not None:
        entry, weights = catalog.find(model)
        _check_entry(folder, entry.name, entry.architecture, weights, config, license)
        card = card_of_entry(entry, weights, repo)
        stated = {"recipe": entry.recipe, "license": weights.license, "name": f"{entry.name}.{weights.tag}"}
    else:
        raise LowzooError(
            f"{folder} does not state how its weights were made: it holds no run.json",
            "Name the zoo's weights that they are with --model, or publish a run folder",
        )
    config["lowzoo"] = config.get("lowzoo", {}) | stated
    config["pretrained_cfg"] = {**config.get("pretrained_cfg", {}), "license": str(stated["license"]).lower()}
    return Publication(repo, config, card, folder / "model.safetensors", needs, map_)


def push(publication: Publication, *, private: bool = False) -> tuple[str, str]:
    """Create the repository if it is not there and commit the files at once.

    Returns:
        The repository's address and the full sha of the commit.

    Raises:
        LowzooError: No permission, no token, or no way to the Hub.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    texts = {"config.json": json.dumps(publication.config, indent=2) + "\n", "README.md": publication.card}
    operations = [CommitOperationAdd("model.safetensors", str(publication.weights))]
    if publication.map is not None:
        operations.append(CommitOperationAdd(MAP_FILE, str(publication.map)))
    operations += [CommitOperationAdd(name, text.encode()) for name, text in texts.items()]
    api = HfApi()
    with _explained(publication.repo):
        url = api.create_repo(publication.repo, private=private or None, exist_ok=True)
        commit = api.create_commit(publication.repo, operations, commit_message="Publish weights with lowzoo")
    return str(url), str(commit.oid)


def _stock_name(architecture: str) -> str:
    """The name in timm where a zoo name stands for a network that is timm's at its size."""
    entry = catalog.models().get(architecture)
    return entry.architecture if entry and entry.stock else architecture


def _run_facts(path: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise LowzooError(
            f"{path} is no JSON ({error})", "Finish the run again with `lowzoo train --resume`"
        ) from error
    return facts


def _check_entry(
    folder: Path,
    name: str,
    architecture: str,
    weights: catalog.WeightsEntry,
    config: dict[str, Any],
    license: str | None,
) -> None:
    if not weights.available or not weights.license:
        raise LowzooError(
            f"nobody published {name}.{weights.tag}, so a folder cannot be it", "Name other weights with --model"
        )
    if config["architecture"] not in (architecture, name):
        raise LowzooError(
            f"{folder} holds a {config['architecture']}, and {name} is a {architecture}", "Name the right --model"
        )
    if not weights.derivatives:
        raise LowzooError(
            f"the licence of {name}.{weights.tag}, {weights.license}, forbids derived weights", "Do not publish them"
        )
    if license and license.lower() != weights.license.lower():
        raise LowzooError(
            f"{name}.{weights.tag} stands under {weights.license}, not under {license}", "Leave --license out"
        )


@contextlib.contextmanager
def _explained(repo: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except HFValidationError as error:
        raise LowzooError(f"{repo} is no repository name of the Hub", "Write --repo ORG/NAME") from error
    except LocalTokenNotFoundError as error:
        raise LowzooError("the Hub wants to know who publishes", "Log in with `hf auth login`") from error
    except OfflineModeIsEnabled as error:
        raise LowzooError("HF_HUB_OFFLINE forbids publishing", "Unset it where there is a network") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise LowzooError(
                f"the Hub does not let you write to {repo}", "Log in with `hf auth login` and a token that may write"
            ) from error
        reason = reason_of(error)
        raise LowzooError(f"the Hub refused {repo}: {reason}", "Try again later; nothing was committed") from error
    except OSError as error:
        reason = reason_of(error)
        raise LowzooError(
            f"the Hub cannot be reached ({reason})", "Publish where there is a network; nothing was committed"
        ) from error
