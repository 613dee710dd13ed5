"""`lowzoo publish DIR --repo ORG/NAME`: a model folder on the Hub."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def publish(
    folder: Annotated[Path, typer.Argument(help="A run folder, or one of `lowzoo convert`.", metavar="DIR")],
    repo: Annotated[str, typer.Option(help="Repository; created if it is not there.", metavar="ORG/NAME")],
    model: Annotated[
        str | None, typer.Option(help="The zoo's name of converted weights, with its tag.", metavar="MODEL")
    ] = None,
    license: Annotated[
        str | None, typer.Option(help="SPDX identifier of the weights of a run.", metavar="SPDX")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Create a private repository.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and show the card; send nothing.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Push the weights in DIR to the Hugging Face Hub, with a configuration that timm reads and a card.

    Refused when the card would lack a fact, or when the licence of the teacher does not allow it. The Hub's own login,
    endpoint and token are used.
    """
    from lowzoo.zoo.publish import FILES, prepare, push

    publication = prepare(folder, repo, model=model, license=license)
    if dry_run:
        print(publication.card, end="", file=sys.stderr if json_ else sys.stdout)
        url, sha = "", ""
    else:
        url, sha = push(publication, private=private)
    facts = {
        "repo": repo,
        "url": url,
        "revision": sha,
        "files": list(FILES),
        "architecture": publication.config["architecture"],
        "needs_lowzoo": publication.needs_lowzoo,
    }
    if json_:
        print(json.dumps(facts, indent=2))
    elif not dry_run:
        print(f"{url} at {sha}")
        print(f"    {'import lowzoo, timm' if publication.needs_lowzoo else 'import timm'}")
        print(f'    model = timm.create_model("hf-hub:{repo}@{sha}", pretrained=True)')
