"""What the sub-commands of `lowzoo eval` have in common: their options, how they open things, what they print."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowzoo.cli.places import file_to_write
from lowzoo.cli.source_options import say_found
from lowzoo.early import refuse_early
from lowzoo.errors import LowzooError

if TYPE_CHECKING:
    from lowzoo.data.options import SourceOptions
    from lowzoo.evaluate.extraction import Extraction
    from lowzoo.evaluate.knn_protocol import KnnData
    from lowzoo.evaluate.result import DataFacts, EvaluationResult, Scored
    from lowzoo.resolve import Resolved

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        callback=refuse_early,
        help="Zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder, timm name, or ARCH@FILE for a "
        "checkpoint.",
    ),
]
Data = Annotated[
    str | None, typer.Option(metavar="SRC", help="Folder of images or parquet; the embedded sample set if absent.")
]
TrainSplit = Annotated[str, typer.Option(help="Split to train on.")]
TestSplit = Annotated[
    str | None,
    typer.Option(
        help="Split to classify; unnamed: validation, else test, else a fifth of each class of an undivided set."
    ),
]
ImageSize = Annotated[
    str | None,
    typer.Option(
        "--image-size",
        "--size",
        metavar="PX|HxW",
        help="Side of the network's input, or height x width, such as 128x256; the model's own if absent.",
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that decode; 0 decodes in this one.")]
Bf16 = Annotated[bool, typer.Option("--bf16", help="Run the network in bfloat16.")]
RandomInit = Annotated[bool, typer.Option("--random-init", help="Leave the weights random, to compare.")]
Repeats = Annotated[int, typer.Option(min=1, metavar="N", help="Seeds; the result gives mean and spread.")]
Seed = Annotated[int, typer.Option(min=0, help="The first seed.")]
Confusion = Annotated[
    Path | None, typer.Option(parser=file_to_write, metavar="FILE.png", help="Draw which classes are taken for which.")
]
Out = Annotated[
    Path | None, typer.Option(parser=file_to_write, metavar="FILE", help="Also write the JSON document here.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@dataclass(frozen=True)
class Output:
    """Where a result goes, and when its evaluation began."""

    out: Path | None
    json: bool
    confusion: Path | None = None
    began: float = 0.0


def begin(data: str | None, out: Path | None, json: bool, confusion: Path | None = None) -> Output:
    """Say which images are used, and refuse places that cannot be written to before anything is computed."""
    human = sys.stderr if json else sys.stdout
    if data is None:
        print("Data: the sample set embedded in lowzoo (drawings; name photographs with --data)", file=human)
    else:
        print(f"Data: {data}", file=human)

    from lowzoo.files import writable_folder

    for path in (out, confusion):
        if path is not None:
            writable_folder(path.parent)
    return Output(out, json, confusion, time.monotonic())


def open_all(
    model: str,
    data: str | None,
    splits: tuple[str, str | None],
    *,
    reading: "SourceOptions",
    json: bool,
    image_size: str | None,
    device: str,
    workers: int,
    bf16: bool,
    random_init: bool,
    seed: int = 0,
    check: "Callable[[KnnData], object] | None" = None,
) -> "tuple[Resolved, KnnData, Extraction]":
    """Open the images and say what was found, let `check` refuse them, then open the network."""
    from lowzoo.evaluate.device import pick_device
    from lowzoo.evaluate.extraction import Extraction
    from lowzoo.evaluate.knn_protocol import open_knn_data
    from lowzoo.resolve import load_model

    size = sides(image_size)
    images = open_knn_data(data, *splits, reading)
    if data is not None:
        say_found(images.bank, images.queries, json=json)
    if check is not None:
        check(images)
    place = pick_device(device)
    resolved = load_model(model, image_size=size, pretrained=not random_init, seed=seed)
    return resolved, images, Extraction(device=place, workers=workers, precision="bf16" if bf16 else "fp32")


def finish(result: "EvaluationResult", output: Output) -> None:
    """Print and write a result."""
    from lowzoo.files import write_text

    timed = result.model_copy(update={"seconds": round(time.monotonic() - output.began, 1)})
    if output.out is not None:
        write_text(output.out, timed.to_json())
    if output.json:
        print(timed.to_json(), end="")
        return
    for line in _report(timed):
        print(line)
    for path in (output.confusion, output.out):
        if path is not None:
            print(f"Written to {path}")


def draw_confusion(scored: "Scored", images: "KnnData", output: Output) -> None:
    """Draw the confusion picture where one is wanted."""
    if output.confusion is None:
        return
    from lowzoo.evaluate.confusion import draw
    from lowzoo.evaluate.result import percent_right

    right = percent_right(scored.predictions, scored.truth)
    title = f"{scored.result.model.name}, {scored.classifier}: {right:.1f} % right"
    draw(scored.truth, scored.predictions, images.bank.class_names, output.confusion, title=title)


def sides(word: str | None) -> tuple[int, int] | None:
    """Read --size: (H, W), None for the model's own."""
    from lowzoo.input_facts import parse_size

    return None if word is None else parse_size(word, "--size")


def numbers(words: str | None, option: str) -> list[float] | None:
    """Read a list such as 0.1,0.3."""
    if words is None:
        return None
    try:
        return [float(word) for word in words.split(",")]
    except ValueError:
        raise LowzooError(f"{option} {words} is no list of numbers", f"Write for example {option} 0.1,0.3") from None


def data_line(facts: "DataFacts") -> str:
    """How many images were read, what could not be, and what was odd."""
    line = f"{facts.images} images of {facts.name} ({facts.fingerprint}) read"
    if facts.skipped:
        line += f", {facts.skipped} cannot be read: {_some(facts.unreadable, facts.skipped)}"
    for oddity, count in facts.odd.items():
        line += f", {count} {_ODD[oddity]}: {_some(facts.odd_images[oddity], count)}"
    return line


def _some(names: Sequence[str], count: int) -> str:
    return ", ".join(names) + (", ..." if count > len(names) else "")


_ODD = {"constant": "of one colour throughout", "clipped": "with numbers beyond the range that is shown"}


def _report(result: "EvaluationResult") -> Iterator[str]:
    from lowzoo.input_facts import size_text

    model = result.model
    size = result.settings.get("preprocessing", {}).get("input_size")
    yield f"Model: {model.name} ({model.revision})" + (f" at {size_text(tuple(size[1:]))} px" if size else "")
    for part, facts in result.data.items():
        yield f"{part.capitalize()}: {data_line(facts)}"
    if any(facts.orientation == "stored" for facts in result.data.values()):
        yield "Photographs were left as they are stored, not turned as their cameras noted"
    if chosen := result.settings.get("chosen"):
        yield f"Chosen: {', '.join(f'{name} {value}' for name, value in chosen.items() if value is not None)}"
    yield ""
    width = max(len(figure.metric) for figure in result.figures)
    yield f"{'':{width}}        %   spread  seeds  95 % of test sets"
    for figure in result.figures:
        spread = f"{figure.std:8.2f}" if figure.std is not None else f"{'-':>8}"
        low_high = "{:.1f} to {:.1f}".format(*figure.interval95) if figure.interval95 else "-"
        yield f"{figure.metric:{width}} {figure.mean:8.2f} {spread} {figure.seeds:6}  {low_high}"
