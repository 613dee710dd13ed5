"""`lowzoo eval knn`."""

from typing import TYPE_CHECKING, Annotated

import typer

from lowzoo.cli import eval_options as options
from lowzoo.cli.source_options import reads_images
from lowzoo.errors import LowzooError

if TYPE_CHECKING:
    from lowzoo.data.options import SourceOptions


@reads_images
def knn(
    model: options.Model,
    data: options.Data = None,
    protocol: Annotated[str, typer.Option(help="Whose settings: dino, rob, seed or sslight.")] = "dino",
    bank_split: Annotated[str, typer.Option(help="Split whose labels are known.")] = "train",
    query_split: options.TestSplit = None,
    image_size: options.ImageSize = None,
    k: Annotated[
        str | None,
        typer.Option("--k", metavar="K,K,...", help="Numbers of neighbours; the protocol's as far as the bank allows."),
    ] = None,
    device: options.Device = "auto",
    workers: options.Workers = 0,
    bf16: options.Bf16 = False,
    random_init: options.RandomInit = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the random initialisation.")] = 0,
    confusion: options.Confusion = None,
    out: options.Out = None,
    json_: options.Json = False,
    *,
    reading: "SourceOptions",
) -> None:
    """Classify held-out images by their nearest neighbours in MODEL's features.

    Cosine similarity, votes weighted by exp(similarity / T); there is nothing random in it. Features are cached, so a
    second run is quick.
    """
    ks = _numbers(k)
    output = options.begin(data, out, json_, confusion)

    from lowzoo.evaluate.knn_protocol import fitting_ks, knn_preset, score_knn

    preset = knn_preset(protocol)
    resolved, images, how = options.open_all(
        model,
        data,
        (bank_split, query_split),
        reading=reading,
        json=json_,
        image_size=image_size,
        device=device,
        workers=workers,
        bf16=bf16,
        random_init=random_init,
        seed=seed,
        check=lambda images: fitting_ks(ks, len(images.bank), preset),
    )
    scored = score_knn(resolved, images, preset=preset, ks=ks, how=how)
    options.draw_confusion(scored, images, output)
    options.finish(scored.result, output)


def _numbers(words: str | None) -> list[int] | None:
    if words is None:
        return None
    try:
        return [int(word) for word in words.split(",")]
    except ValueError:
        raise LowzooError(f"--k {words} is no list of whole numbers", "Write for example --k 10,20") from None
