"""`lowzoo eval`: how good a model's frozen features are; one sub-command a protocol."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowzoo.errors import LowzooError

if TYPE_CHECKING:
    from lowzoo.evaluate.result import EvaluationResult

app = typer.Typer(rich_markup_mode=None, help="Measure how good a model's frozen features are.")


@app.callback()
def _eval() -> None:
    """Measure how good a model's frozen features are; choose a protocol."""


@app.command()
def knn(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Zoo name, hf-hub:ORG/NAME, run or model folder, or timm name.")
    ],
    data: Annotated[
        str | None, typer.Option(metavar="SRC", help="Folder of images or parquet; the embedded sample set if absent.")
    ] = None,
    bank_split: Annotated[str, typer.Option(help="Split whose labels are known.")] = "train",
    query_split: Annotated[str, typer.Option(help="Split to classify.")] = "validation",
    image_size: Annotated[
        int | None, typer.Option(metavar="PX", help="Side of the network's input; the model's own if absent.")
    ] = None,
    k: Annotated[
        str | None,
        typer.Option("--k", metavar="K,K,...", help="Numbers of neighbours; 10,20,100,200 as far as the bank allows."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode; 0 decodes in this one.")] = 0,
    random_init: Annotated[bool, typer.Option("--random-init", help="Leave the weights random, to compare.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the JSON document here.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Classify held-out images by their nearest neighbours in MODEL's features.

    Cosine similarity, votes weighted by exp(similarity / 0.07). Features are cached, so a second run is quick.
    """
    import sys

    ks = _numbers(k)
    human = sys.stderr if json_ else sys.stdout
    if data is None:
        print("Data: the sample set embedded in lowzoo (drawings; name photographs with --data)", file=human)
    else:
        print(f"Data: {data}", file=human)

    from lowzoo.evaluate.device import pick_device
    from lowzoo.evaluate.knn_protocol import evaluate_knn, fitting_ks, open_knn_data
    from lowzoo.files import writable_folder, write_text
    from lowzoo.resolve import load_model

    if out is not None:
        writable_folder(out.parent)
    images = open_knn_data(data, bank_split, query_split)
    fitting_ks(ks, len(images.bank))
    place = pick_device(device)
    resolved = load_model(model, image_size=image_size, pretrained=not random_init)
    result = evaluate_knn(resolved, images, ks=ks, device=place, workers=workers)
    if out is not None:
        write_text(out, result.to_json())
    if json_:
        print(result.to_json(), end="")
        return
    for line in _report(result):
        print(line)
    if out is not None:
        print(f"Written to {out}")


def _numbers(words: str | None) -> list[int] | None:
    if words is None:
        return None
    try:
        return [int(word) for word in words.split(",")]
    except ValueError:
        raise LowzooError(f"--k {words} is no list of whole numbers", "Write for example --k 10,20") from None


def _report(result: "EvaluationResult") -> Iterator[str]:
    model, bank, queries = result.model, result.data["bank"], result.data["queries"]
    yield f"Model: {model.name} ({model.revision}) at {result.settings['preprocessing']['input_size'][1]} px"
    yield f"Bank: {bank.images} images of {bank.name} ({bank.fingerprint})"
    yield f"Queries: {queries.images} images of {queries.name} ({queries.fingerprint})"
    if skipped := bank.skipped + queries.skipped:
        yield f"Skipped: {skipped} images that cannot be read"
    yield ""
    yield f"{'k':>5}  top-1 %"
    for k, figure in zip(result.settings["k"], result.figures, strict=True):
        yield f"{k:>5}  {figure.mean:7.2f}"
