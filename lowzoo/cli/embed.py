"""`lowzoo embed`: a model's features of one's own images, as a table and as a picture."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowzoo.cli import eval_options as options
from lowzoo.cli.places import file_to_write
from lowzoo.cli.source_options import reads_images, say_found
from lowzoo.early import refuse_early
from lowzoo.errors import LowzooError

if TYPE_CHECKING:
    from lowzoo.data.options import SourceOptions


@reads_images
def embed(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[SRC]", help="Folder of images, parquet or tars; the embedded sample set if absent."),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            callback=refuse_early,
            help="Zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder, timm name, or ARCH@FILE for a "
            "checkpoint.",
        ),
    ] = "rob_vit_tiny",
    out: Annotated[
        Path | None,
        typer.Option(
            parser=file_to_write, metavar="FILE.parquet", help="Table of path, vector and, if there are any, label."
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            parser=file_to_write, metavar="FILE.png", help="Picture of some images and their nearest neighbours."
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, max=100, help="Images on the sheet whose neighbours are shown.")] = 12,
    columns: Annotated[int, typer.Option(min=1, max=50, help="Neighbours of each on the sheet.")] = 8,
    split: Annotated[str, typer.Option(help="Which part of SRC.")] = "train",
    image_size: options.ImageSize = None,
    device: options.Device = "auto",
    workers: options.Workers = 0,
    bf16: options.Bf16 = False,
    json_: options.Json = False,
    *,
    reading: "SourceOptions",
) -> None:
    """Write MODEL's features of images for search and clustering, and draw which images it finds alike."""
    if out is None and sheet is None:
        raise LowzooError("nothing is to be written", "Name a table by --out, a picture by --sheet, or both")
    if out is not None and out.suffix.lower() != ".parquet":
        raise LowzooError(f"{out} is no parquet file", "Name one that ends in .parquet")
    options.begin(source, out, json_, sheet)

    from lowzoo.data.source import open_source
    from lowzoo.evaluate.contact_sheet import draw_neighbours
    from lowzoo.evaluate.device import pick_device
    from lowzoo.evaluate.embeddings import require_pyarrow, write_embeddings
    from lowzoo.evaluate.features import extract_features
    from lowzoo.evaluate.result import DataFacts, ModelFacts
    from lowzoo.input_facts import size_text
    from lowzoo.resolve import load_model

    size = options.sides(image_size)
    if out is not None:
        require_pyarrow()
    images = open_source(source, split, reading)
    if source is not None:
        say_found(images, json=json_)
    place = pick_device(device)
    resolved = load_model(model, image_size=size)
    features = extract_features(resolved, images, device=place, workers=workers, precision="bf16" if bf16 else "fp32")
    if out is not None:
        write_embeddings(out, images, features, ModelFacts.of(resolved))
    if sheet is not None:
        title = f"{resolved.name}: images of {images.name} and their nearest neighbours (cosine similarity)"
        draw_neighbours(images, features, images, features, sheet, title=title, columns=columns, most_rows=rows)
    width = features.x.shape[1]
    facts = DataFacts.of_features(images, features)
    if json_:
        counts = {"images": len(features.x), "skipped": features.skipped, "dimensions": width}
        places = {"out": _text(out), "sheet": _text(sheet)}
        print(json.dumps(counts | {"data": facts.model_dump()} | places, indent=2))
        return
    print(f"Model: {resolved.name} ({resolved.revision}) at {size_text(resolved.input_size[1:])} px")
    print(f"Embedded: {options.data_line(facts)} in {width} dimensions")
    for path in (out, sheet):
        if path is not None:
            print(f"Written to {path}")


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
