"""`lowzoo check`: a file made earlier or elsewhere, against PyTorch and against what phones can run."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowzoo.early import refuse_early

if TYPE_CHECKING:
    from lowzoo.export.checking import Report


_WEIGHTS = {
    True: ", the weights that the file was made from",
    False: ", which are other weights than the file was made from",
    None: "; the file does not say which weights it was made from",
}


def check(
    artifact: Annotated[
        Path, typer.Argument(metavar="ARTIFACT", help="An .onnx, .tflite or .pte file, or an .mlpackage folder.")
    ],
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="What it should compute; what it was made from if absent.", callback=refuse_early
        ),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(metavar="FILE|own", help="Of a classifier; the one that it was made with if absent."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="SRC", help="Images to compare on; the sample set if absent.")
    ] = None,
    knn: Annotated[bool, typer.Option("--knn", help="Measure the k-NN loss of a float file too.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compare a file with PyTorch on real images, and tell what a phone's accelerators can do with it.

    A file of `lowzoo export` says what it was made from, with a hash of the weights: other weights of that name are
    refused. Any other file is compared by --against MODEL.

    The exit status is 1 if a bound of its precision is broken.
    """
    import json

    from rich.console import Console

    from lowzoo.export.bounds import ParityError
    from lowzoo.export.checking import check_artifact

    try:
        with Console(stderr=True).status(f"checking {artifact}"):
            report = check_artifact(artifact, against, data, head=head, with_knn=knn)
    except ParityError as error:
        print(f"lowzoo: error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    if json_:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        for line in _lines(report):
            print(line)
    if report.broken:
        raise typer.Exit(1)


def _lines(report: "Report") -> Iterator[str]:
    from lowzoo.cli.export import parity_lines

    ready = report.readiness
    shape = " x ".join(str(side or "N") for side in report.input_shape)
    yield f"{report.path}: {ready.size_bytes / 1e6:.1f} MB, {report.format}, {report.precision}, input {shape}"
    if report.unchecked:
        yield f"UNCHECKED when it was exported: {report.unchecked}; what follows is the check it lacked"
    yield ""
    yield f"Against {report.model} ({report.revision}){_WEIGHTS[report.same_weights]}"
    yield from parity_lines(report.parity, report.bounds)
    yield f"  {'BROKEN: ' + '; '.join(report.broken) if report.broken else 'every bound is kept'}"
    yield ""
    yield "Operators: " + ", ".join(f"{name} {count}" for name, count in ready.operators.items())
    for unit in ready.accelerators:
        pieces = "1 partition" if unit.partitions == 1 else f"{unit.partitions} partitions"
        yield f"  {unit.name:<24} {pieces:<15} {unit.taken} of {unit.nodes} nodes"
    for sentence in ready.advice:
        yield f"- {sentence}"
