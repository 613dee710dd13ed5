"""`lowzoo download MODEL...`: fetch weights now, for a time without a network."""

import json
import sys
from typing import Annotated

import typer

from lowzoo import catalog
from lowzoo.base.errors import LowzooError


def download(
    models: Annotated[list[str], typer.Argument(help="Zoo names, with or without tags.", metavar="MODEL...")],
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Fetch and convert the weights of each MODEL, so that they load without a network later.

    They come from where their authors published them, and are kept in the caches of the Hub and of lowzoo. What is
    there already is not fetched again. hf-hub:ORG/NAME[/FOLDER][@REVISION] fetches any model.
    """
    from lowzoo.zoo.hub_spec import fetch_hub_model, is_hub_spec

    wanted = [(model, None if is_hub_spec(model) else catalog.find(model)) for model in models]
    for model, found in wanted:
        if found and not found[1].available:
            raise LowzooError(
                f"the weights of {model} are {found[1].origin} and cannot be fetched", f"See `lowzoo info {model}`"
            )
    from lowzoo.io.safetensors_file import check_safetensors
    from lowzoo.zoo import pretrained

    files = {}
    for model, found in wanted:
        if found is None:
            _, folder, _ = fetch_hub_model(model)
            name, path = model, folder / "model.safetensors"
        else:
            name, path = f"{found[0].name}.{found[1].tag}", pretrained.weights_file(*found)
        check_safetensors(path)
        files[name] = str(path)
        print(f"{name}: {path}", file=sys.stderr if json_ else sys.stdout)
    if json_:
        print(json.dumps(files, indent=2))
