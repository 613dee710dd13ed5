"""`lowzoo quickstart`: the whole way once, with nothing but the package."""

from pathlib import Path
from typing import Annotated

import typer

_NEXT = """\
Next:
  python -c "import lowzoo, timm; timm.create_model('lowzoo/rob_vit_tiny', pretrained=True, num_classes=10)"
  lowzoo list                                   which models there are
  lowzoo eval knn rob_vit_tiny --data FOLDER     on your images: FOLDER/train/CLASS/, FOLDER/validation/CLASS/
  lowzoo export --format onnx                   the file for your app
  lowzoo train rob --data FOLDER                new weights from your images, no labels needed"""


def quickstart(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the picture, the ONNX file and the figures.")
    ] = Path("lowzoo_quickstart"),
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Create the bundled model, evaluate it, export it to ONNX and time it, in under two minutes.

    Needs no network and no data: the weights and a small set of drawings are part of the package.
    """
    import json
    import sys

    human = sys.stderr if json_ else sys.stdout
    print("Data: the sample set embedded in lowzoo (drawings; other commands take --data)", file=human, flush=True)

    from rich import box
    from rich.console import Console
    from rich.table import Table

    from lowzoo.quickstart import run_quickstart

    summary = run_quickstart(out, lambda line: print(line, file=human, flush=True))
    if json_:
        print(json.dumps(summary.as_dict(), indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in summary.rows():
        table.add_row(name, value)
    Console(file=human, highlight=False, markup=False, emoji=False).print(table)
    print(_NEXT)
