"""`lowzoo export`: a file for a phone, checked against PyTorch."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="Zoo name, run folder, hf-hub:ORG/NAME or timm name.")
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
    out: Annotated[Path | None, typer.Option(help="The file; MODEL.onnx in the current folder if absent.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Export a model and prove that the file computes what PyTorch computes.

    The file is run on real images and kept only if it agrees; otherwise the exit status is 1 and nothing is written.
    """
    import json

    from rich.console import Console

    from lowzoo.errors import LowzooError
    from lowzoo.export import Artifact, ExportSpec, ParityError
    from lowzoo.export import export as write
    from lowzoo.export.parity import BOUNDS

    if batch != "dynamic" and not batch.isdigit():
        raise LowzooError(f"a batch of {batch!r} is impossible", "Use a number, or dynamic")
    spec = ExportSpec(format_, precision, size, "dynamic" if batch == "dynamic" else int(batch), input_, opset)
    try:
        with Console(stderr=True).status(f"exporting {model} and checking it against PyTorch"):
            artifact: Artifact = write(model, spec, out)
    except ParityError as error:
        typer.echo(f"lowzoo: error: {error}", err=True)
        raise typer.Exit(1) from None
    if json_:
        typer.echo(json.dumps(artifact.as_dict()))
        return
    parity, bounds = artifact.parity, BOUNDS[spec.precision]
    shape = " x ".join(str(side or "N") for side in artifact.input_shape)
    typer.echo(f"{artifact.path}: {artifact.size_bytes / 1e6:.1f} MB, {artifact.model} ({artifact.revision})")
    typer.echo(
        f"input {spec.input_name}: {'uint8 RGB' if spec.input == 'image' else 'float32'} {shape}, "
        f"opset {spec.opset}, {spec.precision}"
    )
    typer.echo(f"\nParity with PyTorch on {parity.images} real images, by {parity.engine}")
    for label, value, bound in (
        ("largest error", f"{parity.max_error:.2e}", ""),
        ("mean error", f"{parity.mean_error:.2e}", ""),
        ("relative error", f"{parity.relative_error:.2e}", f"at most {bounds.relative_error:.0e}"),
        ("smallest cosine", f"{parity.min_cosine:.7f}", f"at least {bounds.min_cosine}"),
        ("mean cosine", f"{parity.mean_cosine:.7f}", ""),
        ("k-NN agreement", f"{100 * parity.knn_agreement:.1f} %", f"at least {100 * bounds.knn_agreement:.0f} %"),
    ):
        typer.echo(f"  {label:<16} {value:>12}   {bound}".rstrip())
    typer.echo(f"\nNext: lowzoo bench {artifact.path}")
