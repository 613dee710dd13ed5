"""`lowzoo.publish`: the weights of a folder on the Hub."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from lowzoo.base.options import Option, Progress

if TYPE_CHECKING:
    from lowzoo.zoo.publish import Publication


@dataclass(frozen=True)
class Published:
    """What was committed, or would be.

    Args:
        publication: Configuration, card and weights.
        url: Address of the repository; empty where nothing was sent.
        revision: Full sha of the commit; empty where nothing was sent.
    """

    publication: "Publication"
    url: str = ""
    revision: str = ""

    @property
    def repo(self) -> str:
        """`ORG/NAME`."""
        return self.publication.repo

    @property
    def card(self) -> str:
        """Text of the model card."""
        return self.publication.card

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "repo": self.repo,
            "url": self.url,
            "revision": self.revision,
            "files": list(self.publication.files),
            "architecture": self.publication.config["architecture"],
            "needs_lowzoo": self.publication.needs_lowzoo,
        }

    def to_json(self) -> str:
        """`as_dict` as a document."""
        return json.dumps(self.as_dict(), indent=2) + "\n"

    def lines(self) -> Iterator[str]:
        """The lines that the command prints; none where nothing was sent."""
        if not self.revision:
            return
        yield f"{self.url} at {self.revision}"
        yield f"    {'import lowzoo, timm' if self.publication.needs_lowzoo else 'import timm'}"
        yield f'    model = timm.create_model("hf-hub:{self.repo}@{self.revision}", pretrained=True)'

    def __str__(self) -> str:
        return "\n".join(self.lines()) or f"nothing was sent to {self.repo}"

    def __repr__(self) -> str:
        return f"Published({self.repo}, {self.revision or 'nothing sent'})"

    def _repr_html_(self) -> str:
        from lowzoo.base import html

        return html.block([str(self), "", *self.card.splitlines()])


def publish(
    folder: Annotated[str | Path, Option(metavar="DIR")],
    *,
    repo: Annotated[str, Option(metavar="ORG/NAME")],
    model: Annotated[str | None, Option(metavar="MODEL")] = None,
    license: Annotated[str | None, Option(metavar="SPDX")] = None,
    private: bool = False,
    dry_run: bool = False,
    progress: Progress = None,
) -> Published:
    """Push the weights in DIR to the Hugging Face Hub, with a configuration that timm reads and a card.

    Refused when the card would lack a fact, or when the licence of the teacher, or of the model that the run is
    compatible with, does not allow it. The map into that model's space goes along. The Hub's own login, endpoint and
    token are used.

    Args:
        folder: A run folder, or one of `lowzoo convert`.
        repo: Repository; created if it is not there.
        model: The zoo's name of converted weights, with its tag.
        license: SPDX identifier of the weights of a run.
        private: Create a private repository.
        dry_run: Check everything and show the card; send nothing.
        progress: Takes the lines of the card of a dry run, such as `print`; None is silent.

    Returns:
        What was committed, with the card.

    Raises:
        LowzooError: No model folder, a fact that is missing, a licence that forbids it, or no way to the Hub.
    """
    from lowzoo.base.progress import told
    from lowzoo.checkpoints.model_folder import refuse_other_network

    refuse_other_network(Path(folder))
    from lowzoo.zoo.publish import prepare, push

    with told(progress) as say:
        publication = prepare(Path(folder), repo, model=model, license=license)
        if dry_run:
            for line in publication.card.splitlines():
                say(line)
            return Published(publication)
        return Published(publication, *push(publication, private=private))
