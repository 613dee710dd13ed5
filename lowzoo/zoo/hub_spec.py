"""How a model of the Hub is written, and its files fetched: repository, revision and folder in one word.

    hf-hub:OWNER/NAME[/FOLDER][@REVISION]     as timm writes it, with a folder
    hf-hub:OWNER/NAME@REVISION[/FOLDER]       as huggingface_hub's file system writes it, also with hf://
    https://.../OWNER/NAME[/tree/REVISION[/FOLDER]]    as a browser shows it

A branch's name may hold slashes, so that what follows the @ can be read in two ways: as a whole, which is timm's
reading and tried first, or as a revision and a folder.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lowzoo.base.errors import LowzooError
from lowzoo.io import hub

SCHEME = "hf-hub:"
_SCHEMES = re.compile(r"(hf[-_]hub:(?://)?|hf://)", re.I)
_SHA = re.compile(r"[0-9a-f]{40}")
_SPECIAL = re.compile(r"(refs/(?:pr|convert)/[^/]+)(?:/(.+))?")
_WRITE = "Write hf-hub:ORG/NAME, hf-hub:ORG/NAME@REVISION or hf-hub:ORG/NAME/FOLDER@REVISION"


@dataclass(frozen=True)
class HubPlace:
    """A folder of a repository at a revision.

    Args:
        repository: ORG/NAME.
        folder: Empty for the repository itself.
        revision: Branch, tag or commit; empty for the default branch.
    """

    repository: str
    folder: str = ""
    revision: str = ""

    @property
    def name(self) -> str:
        """The word for it without a revision."""
        return f"{SCHEME}{self.repository}{f'/{self.folder}' if self.folder else ''}"


def is_hub_spec(model_spec: str) -> bool:
    """Whether a word names a model of the Hub."""
    return bool(_SCHEMES.match(model_spec)) or _of_address(model_spec) is not None


def readings(model_spec: str) -> list[HubPlace]:
    """What a word may mean, the likeliest first.

    Raises:
        LowzooError: An empty name, folder or revision, or a folder above the repository.
    """
    text = (_of_address(model_spec) or _SCHEMES.sub("", model_spec, count=1)).removesuffix("/")
    name, at, rest = text.partition("@")
    parts = name.split("/")
    if not all(parts) or (at and not all(rest.split("/"))) or {".", ".."} & {*parts, *rest.split("/")}:
        raise LowzooError(f"{model_spec} is no model of the Hub", _WRITE)
    repository, folder = "/".join(parts[:2]), "/".join(parts[2:])
    whole = HubPlace(repository, folder, unquote(rest))
    first, slash, below = rest.partition("/")
    if folder or not slash:
        return [whole]
    if special := _SPECIAL.fullmatch(rest):
        return [HubPlace(repository, special[2] or "", special[1])]
    split = HubPlace(repository, below, unquote(first))
    return [split] if _SHA.fullmatch(first) else [whole, split]


def fetch_hub_model(model_spec: str) -> tuple[HubPlace, Path, str]:
    """Fetch configuration and weights of the model that a word means, or take them from the cache.

    Returns:
        What the word means, the folder that holds `config.json` and `model.safetensors`, and the commit.

    Raises:
        LowzooError: See `lowzoo.io.hub.fetch_model`; of a word with two readings what is wrong with the first.
    """
    refused: list[LowzooError] = []
    for place in readings(model_spec):
        at = f"@{place.revision}" if place.revision else ""
        try:
            folder, sha = hub.fetch_model(f"{place.repository}{at}", folder=place.folder)
        except hub.NoRevisionError as error:
            refused.append(error)
        else:
            return place, folder, sha
    raise refused[0]


def _of_address(model_spec: str) -> str | None:
    """OWNER/NAME[@REVISION[/FOLDER]] of an address of the Hub; None for any other word."""
    if not model_spec.lower().startswith(("http://", "https://")):
        return None
    from huggingface_hub import constants

    address, endpoint = urlsplit(model_spec), urlsplit(constants.ENDPOINT)
    if address.netloc != endpoint.netloc:
        return None
    parts = address.path.strip("/").split("/")
    if len(parts) > 3 and parts[2] in ("tree", "blob"):
        return f"{'/'.join(parts[:2])}@{'/'.join(parts[3:])}"
    return "/".join(parts)
