"""`lowzoo data`: what lowzoo sees in images before anyone trains on them."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowzoo.base.errors import LowzooError
from lowzoo.checkpoints.early import refuse_early
from lowzoo.cli.options.places import file_to_write
from lowzoo.cli.options.source_options import reads_images

if TYPE_CHECKING:
    from lowzoo.data.reading.options import SourceOptions


@reads_images
def data(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[SRC]", help="Folder of images, parquet or tars; the embedded sample set if absent."),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            callback=refuse_early,
            help="Whose features find nearly same pictures, and below whose input a picture counts as small.",
        ),
    ] = "rob_vit_tiny",
    features: Annotated[
        bool,
        typer.Option("--features/--no-features", help="Look for nearly same pictures, or for the same bytes only."),
    ] = True,
    split: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this split; may be given several times.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=file_to_write, metavar="FILE.html", help="Report as one page, with pictures, that works offline."
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            parser=file_to_write, metavar="FILE.png", help="Some pictures of each class, and the problems, framed."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Threads; 0 takes all cores.")] = 0,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    *,
    reading: "SourceOptions",
) -> None:
    """Report what there is: splits, classes, formats, sizes, broken, constant and alike pictures, and leaks.

    Alike pictures are those of the same bytes and those that a model's features and small copies find nearly the same,
    also re-encoded, resized or mirrored. A picture of the validation that training sees too is named as a leak.
    """
    for path, endings in ((out, (".html", ".htm")), (sheet, (".png",))):
        if path is not None and path.suffix.lower() not in endings:
            raise LowzooError(f"{path} does not end in {endings[0]}", f"Name a file that ends in {endings[0]}")
    human = sys.stderr if json_ else sys.stdout
    if source is None:
        print("Data: the sample set embedded in lowzoo (drawings; name a folder to look at your own)", file=human)
    else:
        from lowzoo.base.printable import printable

        print(f"Data: {printable(source)}", file=human)
    human.flush()

    from lowzoo.inspect.inspection import inspect
    from lowzoo.inspect.page import to_html
    from lowzoo.inspect.sheet import draw_sheet
    from lowzoo.inspect.shown import choose
    from lowzoo.inspect.words import in_words, lines
    from lowzoo.io.files import writable_folder, write_text

    for path in (out, sheet):
        if path is not None:
            writable_folder(path.parent)
    seen = inspect(source, reading, splits=split or (), model=model if features else None, workers=workers)
    if out is not None or sheet is not None:
        shown = choose(seen)
        if out is not None:
            write_text(out, to_html(seen.report, shown))
        if sheet is not None:
            draw_sheet(shown, sheet)
    if json_:
        print(json.dumps(seen.report.as_dict() | in_words(seen.report), indent=2))
        return
    for line in lines(seen.report):
        print(line)
    for path in (out, sheet):
        if path is not None:
            print(f"Written to {path}")
