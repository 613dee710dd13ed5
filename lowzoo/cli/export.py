"""`lowzoo export`: a file for a phone, checked against PyTorch."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowzoo.early import refuse_early
from lowzoo.errors import LowzooError
from lowzoo.following import next_line

if TYPE_CHECKING:
    from lowzoo.export import Artifact, ExportSpec, Parity
    from lowzoo.export.bounds import Bounds
    from lowzoo.resolve import Resolved


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="[MODEL]",
            callback=refuse_early,
            help="Zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder, timm name, or ARCH@FILE for a "
            "checkpoint.",
        ),
    ] = "rob_vit_tiny",
    format_: Annotated[str, typer.Option("--format", help="onnx, coreml, executorch or litert.")] = "onnx",
    precision: Annotated[
        str,
        typer.Option(
            help="fp32, fp16 or int8; Core ML also palette6 or palette4, ExecuTorch and LiteRT also int8-dynamic."
        ),
    ] = "fp32",
    size: Annotated[
        str | None,
        typer.Option(
            metavar="PX|HxW", help="Side of the input, or height x width, such as 128x256; the weights' own if absent."
        ),
    ] = None,
    batch: Annotated[str, typer.Option(metavar="N|dynamic", help="Images in a run; phones want 1.")] = "1",
    input_: Annotated[
        str,
        typer.Option("--input", help="image: RGB in 0 to 255, normalised in the graph; tensor: float32."),
    ] = "image",
    layout: Annotated[str, typer.Option(help="Of an image that is bytes: nhwc or nchw.")] = "nhwc",
    opset: Annotated[int, typer.Option(help="ONNX operator set.")] = 20,
    target: Annotated[
        str,
        typer.Option(
            "--for", help="nnapi, coreml-ep or cpu: write out what it lacks; coreml: ExecuTorch hands all to Core ML."
        ),
    ] = "cpu",
    ios: Annotated[str, typer.Option(help="Oldest system for Core ML: iOS16, iOS17 or iOS18.")] = "iOS16",
    calibration: Annotated[
        str | None, typer.Option(metavar="SRC", help="Images to calibrate int8 on; the sample set if absent.")
    ] = None,
    max_loss: Annotated[
        str, typer.Option(metavar="POINTS|cosine:C", help="What int8 and palettes may lose: k-NN points, or a cosine.")
    ] = "1.0",
    head: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|own",
            help="Classifier: a linear probe (safetensors), or the one that the weights come with; none if absent.",
        ),
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Names of the head's classes, one a line.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="I,J,...|last|all",
            help="Give these feature maps, an output each, by timm's indices: a CNN's stages, a ViT's patch tokens.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|DIR/",
            help="What to write; MODEL_SIZE_PRECISION.onnx, .mlpackage, ... here or in DIR/ if absent.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is another export.")] = False,
    unchecked: Annotated[
        bool,
        typer.Option(
            "--unchecked", help="Keep a Core ML file that only a Mac can run, marked so; all else is still checked."
        ),
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Export a model and prove that the file computes what PyTorch computes.

    The file is run on real images and kept only if it agrees; otherwise the exit status is 1 and nothing is written.
    """
    import json

    if batch != "dynamic" and not batch.isdecimal():
        raise LowzooError(f"a batch of {batch!r} is impossible", "Use a number, or dynamic")
    if features is not None and (head is not None or classes is not None):
        raise LowzooError(
            "feature maps and a classifier do not go into one file", "Give --features, or --head, and not both"
        )
    if (head is None and classes) or (head not in (None, "own") and classes is None):
        raise LowzooError("a head and the names of its classes go together", "Give both --head and --classes")

    from lowzoo.export import ExportSpec, MaxLoss
    from lowzoo.export.head import read_classes
    from lowzoo.export.spec import parse_features
    from lowzoo.input_facts import parse_size

    spec = ExportSpec(
        format=format_,
        precision=precision,
        size=parse_size(size, "--size") if size is not None else None,
        batch="dynamic" if batch == "dynamic" else int(batch),
        input=input_,
        opset=opset,
        layout=layout,
        target=target,
        deployment_target=ios,
        calibration=calibration,
        max_loss=MaxLoss.parse(max_loss),
        classes=read_classes(classes) if classes else (),
        features=parse_features(features) if features is not None else None,
    )
    artifact = write_checked(model, spec, out, head, force=force, unchecked=unchecked)
    if json_:
        print(json.dumps(artifact.as_dict(), indent=2))
        return
    for line in _report(artifact):
        print(line)


def write_checked(
    model: str,
    spec: "ExportSpec",
    out: str | Path | None,
    head: str | None = None,
    *,
    force: bool = False,
    unchecked: bool = False,
) -> "Artifact":
    """Export with a sign of life on stderr; broken parity ends the program with 1, as it is no misuse."""
    import dataclasses

    from rich.console import Console

    from lowzoo.export import ParityError
    from lowzoo.export import export as write

    console = Console(stderr=True)
    try:
        with console.status(f"exporting {model} and checking it against PyTorch") as status:

            def say(stage: str) -> None:
                if console.is_terminal:
                    status.update(f"{model}: {stage}")
                elif stage.startswith("int8"):  # what takes minutes
                    print(stage, file=sys.stderr, flush=True)

            if head is None:
                return write(model, spec, out, force=force, unchecked=unchecked, say=say)
            resolved, spec, remark = _with_head(model, spec, head)
            artifact = write(resolved, spec, out, force=force, unchecked=unchecked, say=say)
            return dataclasses.replace(artifact, warnings=(remark, *artifact.warnings)) if remark else artifact
    except ParityError as error:
        print(f"lowzoo: error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def parity_lines(parity: "Parity", bounds: "Bounds") -> Iterator[str]:
    """The comparison with PyTorch as a table with its bounds; of several outputs, of each."""
    yield f"Parity with PyTorch on {parity.images} real images, by {parity.engine}"
    for one in parity.outputs:
        yield f"  {one.name}"
        yield from (f"  {line}" for line in _rows(one, bounds))
    if not parity.outputs:
        yield from _rows(parity, bounds)


def _rows(parity: "Parity", bounds: "Bounds") -> Iterator[str]:
    def at(word: str, bound: float | None) -> str:
        return "" if bound is None else f"at {word} {bound:g}"

    rows = [
        ("largest error", f"{parity.max_error:.2e}", ""),
        ("mean error", f"{parity.mean_error:.2e}", ""),
        ("relative error", f"{parity.relative_error:.2e}", at("most", bounds.relative_error)),
        ("smallest cosine", f"{parity.min_cosine:.7f}", at("least", bounds.min_cosine)),
        ("mean cosine", f"{parity.mean_cosine:.7f}", at("least", bounds.mean_cosine)),
        ("k-NN agreement", f"{100 * parity.knn_agreement:.1f} %", at("least", bounds.knn_agreement)),
    ]
    if parity.knn_loss is not None:
        points = f"{parity.knn_loss:+.2f} pt"
        rows.append((f"k-NN loss ({parity.knn_images})", points, at("most", bounds.knn_loss)))
    for label, value, bound in rows:
        yield f"  {label:<16} {value:>12}   {bound}".rstrip()


def _with_head(model: str, spec: "ExportSpec", head: str) -> "tuple[Resolved, ExportSpec, str]":
    """The classifier, the spec with the names of its classes, and a warning if nobody names them."""
    import dataclasses

    from lowzoo.export.head import OWN, own_classes, read_head, with_head
    from lowzoo.resolve import load_model

    if head != OWN:
        tensors = read_head(Path(head))
        resolved = with_head(load_model(model, image_size=spec.size), *tensors, spec.classes, Path(head))
        return resolved, spec, ""
    resolved = load_model(model, image_size=spec.size, classes=True)
    classes, remark = own_classes(resolved, spec.classes)
    return resolved, dataclasses.replace(spec, classes=classes), remark


def _report(artifact: "Artifact") -> Iterator[str]:
    from lowzoo.export.parity import bounds_of

    spec = artifact.spec
    shape = " x ".join(str(side or "N") for side in artifact.input_shape)
    system = (
        f"opset {spec.opset}"
        if spec.format == "onnx"
        else f"Core ML delegate, {spec.deployment_target} or later"
        if spec.core_ml_delegate
        else "XNNPACK"
        if spec.format in ("executorch", "litert")
        else f"{spec.deployment_target} or later"
    )
    colour = artifact.preprocess.partition(";")[0]
    kind = (f"{colour} image" if spec.format == "coreml" else f"uint8 {colour}") if spec.input == "image" else "float32"
    yield f"{artifact.path}: {artifact.size_bytes / 1e6:.1f} MB, {artifact.model} ({artifact.revision})"
    yield f"input {spec.input_name}: {kind} {shape}, {system}, {spec.precision}"
    for each in artifact.features:
        batch = artifact.input_shape[0] or "N"
        where = f"map {each.index}, stride {each.stride}"
        yield f"output {each.name}: float32 {batch} x {' x '.join(map(str, each.shape))} (channels first), {where}"
    yield ""
    yield from parity_lines(artifact.parity, bounds_of(spec))
    yield ""
    yield f"Feed it: {artifact.preprocess}"
    for line in artifact.snippet.splitlines():
        yield f"  {line}"
    for line in artifact.warnings:
        yield f"Warning: {line}"
    yield ""
    check: tuple[str | Path, ...] = ("check", artifact.path)
    yield next_line(check, ("bench", artifact.path)) if spec.format == "onnx" else next_line(check)
