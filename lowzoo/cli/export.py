"""`lowzoo export`: a file for a phone, checked against PyTorch."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowzoo.errors import LowzooError

if TYPE_CHECKING:
    from lowzoo.export import Artifact, ExportSpec


def export(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="Zoo name, hf-hub:ORG/NAME, run or model folder, or timm name.")
    ] = "rob_vit_tiny",
    format_: Annotated[str, typer.Option("--format", help="onnx.")] = "onnx",
    precision: Annotated[str, typer.Option(help="fp32.")] = "fp32",
    size: Annotated[
        int | None, typer.Option(metavar="PX", help="Side of the input; the weights' own if absent.")
    ] = None,
    batch: Annotated[str, typer.Option(metavar="N|dynamic", help="Images in a run; phones want 1.")] = "1",
    input_: Annotated[
        str, typer.Option("--input", help="image: uint8 RGB, normalised in the graph; tensor: float32, normalised.")
    ] = "image",
    opset: Annotated[int, typer.Option(help="ONNX operator set.")] = 20,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file; MODEL.onnx in the current folder if absent.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Export a model and prove that the file computes what PyTorch computes.

    The file is run on real images and kept only if it agrees; otherwise the exit status is 1 and nothing is written.
    """
    import json

    if batch != "dynamic" and not batch.isdecimal():
        raise LowzooError(f"a batch of {batch!r} is impossible", "Use a number, or dynamic")

    from lowzoo.export import ExportSpec

    spec = ExportSpec(format_, precision, size, "dynamic" if batch == "dynamic" else int(batch), input_, opset)
    artifact = write_checked(model, spec, out)
    if json_:
        print(json.dumps(artifact.as_dict(), indent=2))
        return
    for line in _report(artifact):
        print(line)


def write_checked(model: str, spec: "ExportSpec", out: Path | None) -> "Artifact":
    """Export with a sign of life on stderr; broken parity ends the program with 1, as it is no misuse."""
    from rich.console import Console

    from lowzoo.export import ParityError
    from lowzoo.export import export as write

    try:
        with Console(stderr=True).status(f"exporting {model} and checking it against PyTorch"):
            return write(model, spec, out)
    except ParityError as error:
        print(f"lowzoo: error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def _report(artifact: "Artifact") -> Iterator[str]:
    from lowzoo.export.parity import BOUNDS

    spec, parity, bounds = artifact.spec, artifact.parity, BOUNDS[artifact.spec.precision]
    shape = " x ".join(str(side or "N") for side in artifact.input_shape)
    yield f"{artifact.path}: {artifact.size_bytes / 1e6:.1f} MB, {artifact.model} ({artifact.revision})"
    yield (
        f"input {spec.input_name}: {'uint8 RGB' if spec.input == 'image' else 'float32'} {shape}, "
        f"opset {spec.opset}, {spec.precision}"
    )
    yield ""
    yield f"Parity with PyTorch on {parity.images} real images, by {parity.engine}"
    for label, value, bound in (
        ("largest error", f"{parity.max_error:.2e}", ""),
        ("mean error", f"{parity.mean_error:.2e}", ""),
        ("relative error", f"{parity.relative_error:.2e}", f"at most {bounds.relative_error:.0e}"),
        ("smallest cosine", f"{parity.min_cosine:.7f}", f"at least {bounds.min_cosine}"),
        ("mean cosine", f"{parity.mean_cosine:.7f}", ""),
        ("k-NN agreement", f"{100 * parity.knn_agreement:.1f} %", f"at least {100 * bounds.knn_agreement:.0f} %"),
    ):
        yield f"  {label:<16} {value:>12}   {bound}".rstrip()
    yield ""
    yield f"Next: lowzoo bench {shlex.quote(str(artifact.path))}"
