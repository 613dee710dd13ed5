"""`lowzoo.export.export` and `lowzoo.export.check`: what the two commands call."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from lowzoo.base.options import Model, Option, Progress, read_literally

if TYPE_CHECKING:
    from torch import nn

    from lowzoo.data.source import ImageSource
    from lowzoo.export.artifact import Artifact
    from lowzoo.export.checking import Report
    from lowzoo.export.cross import CrossReport
    from lowzoo.export.detection.artifact import DetectorArtifact
    from lowzoo.export.detection.checking import DetectorReport
    from lowzoo.export.every import Exports
    from lowzoo.export.spec.spec import ExportSpec
    from lowzoo.zoo.resolve import Resolved


def export(
    model: Annotated[
        "str | Path | nn.Module | Resolved",
        Option(metavar="[MODEL]", early="lowzoo.checkpoints.early:refuse_early"),
    ] = "rob_vit_tiny",
    *,
    format: Annotated[str, Option(names_from="lowzoo.export.formats:FORMATS")] = "onnx",
    precision: str = "fp32",
    size: Annotated[
        int | tuple[int, int] | None, Option(metavar="PX|HxW", read="lowzoo.preprocess.input_facts:parse_size")
    ] = None,
    batch: Annotated[
        int | Literal["dynamic"], Option(metavar="N|dynamic", read="lowzoo.export.spec.spec:parse_batch")
    ] = 1,
    input: Literal["image", "tensor"] = "image",
    layout: Literal["nhwc", "nchw"] = "nhwc",
    opset: int = 20,
    target: Annotated[str, Option("--for")] = "cpu",
    ios: Literal["iOS16", "iOS17", "iOS18"] = "iOS16",
    calibration: Annotated[str | Path | None, Option(metavar="SRC")] = None,
    max_loss: Annotated[float | str, Option(metavar="POINTS|cosine:C", read=read_literally)] = "1.0",
    head: Annotated[str | Path | None, Option(metavar="FILE|own|compatible")] = None,
    classes: Annotated[Sequence[str] | str | Path | None, Option(metavar="FILE", read=read_literally)] = None,
    features: Annotated[
        int | Sequence[int] | str | None,
        Option(metavar="I,J,...|last|all", read=read_literally),
    ] = None,
    nms: Literal["inside", "outside"] = "inside",
    out: Annotated[str | Path | None, Option(metavar="PATH|DIR/", read=read_literally)] = None,
    force: bool = False,
    unchecked: bool = False,
    progress: Progress = None,
) -> "Artifact | DetectorArtifact | Exports":
    """Export a model and prove that the file computes what PyTorch computes.

    The file is run on real images and kept only if it agrees; otherwise the exit status is 1 and nothing is written.

    Args:
        model: Zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder, timm name, or ARCH@FILE for a
            checkpoint. In Python also what `lowzoo.load` gave, or a network of your own, such as a fine-tuned one: it
            is exported with its classifier, if it has one, and `classes` names the classes. The folder of a detector's
            run gives the detector.
        format: What to write, or all: every format that is installed, into a folder, and one table of them.
        precision: fp32, fp16 or int8; Core ML also palette6 or palette4, ExecuTorch and LiteRT also int8-dynamic.
        size: Side of the input, or height x width, such as 128x256; the weights' own if absent.
        batch: Images in a run; phones want 1.
        input: image: RGB in 0 to 255, normalised in the graph; tensor: float32.
        layout: Layout of an image that is bytes.
        opset: ONNX operator set.
        target: nnapi, coreml-ep or cpu: write out what it lacks; coreml: ExecuTorch hands all to Core ML.
        ios: Oldest system for Core ML.
        calibration: Images to calibrate int8 on; the sample set if absent.
        max_loss: What int8 and palettes may lose: k-NN points, or a cosine.
        head: Classifier: a linear probe (safetensors), or the one that the weights come with (own); none if absent. Or
            compatible: the map of a run that was trained with --compatible-with, to unit vectors in that model's space.
        classes: Names of the head's classes, a file with one a line. In Python also a list of them.
        features: Give these feature maps, an output each, by timm's indices: a CNN's stages, a ViT's patch tokens.
        nms: Of a detector: its last suppression of overlapping boxes in the graph, or left to the app.
        out: What to write, the folder of all formats; MODEL_SIZE_PRECISION.onnx, .mlpackage, ... here or in DIR/ if
            absent.
        force: Replace a file that is another export.
        unchecked: Keep a Core ML file that only a Mac can run, marked so; all else is still checked.
        progress: Takes each line of what is being done, such as `print`; None is silent.

    Returns:
        The file, its parity, and how an app feeds it; of all formats a row each.

    Raises:
        LowzooError: Unknown model, an option that does not fit, or a place that cannot be written to.
        ParityError: The file does not compute what PyTorch computes; nothing is written.
    """
    import dataclasses

    from lowzoo.base.errors import LowzooError
    from lowzoo.base.progress import told
    from lowzoo.detection import is_detector
    from lowzoo.export.artifact import write_artifact
    from lowzoo.export.every import ALL
    from lowzoo.export.network.head import read_classes
    from lowzoo.export.spec.spec import ExportSpec, MaxLoss

    given = isinstance(model, (str, Path))
    if features is not None and (head is not None or classes is not None):
        raise LowzooError(
            "feature maps and a classifier do not go into one file", "Give --features, or --head, and not both"
        )
    if head == "compatible":
        if classes is not None:
            raise LowzooError("the map into another model's space has no classes", "Leave out --classes")
    elif given and ((head is None and classes) or (head not in (None, "own") and classes is None)):
        raise LowzooError("a head and the names of its classes go together", "Give both --head and --classes")
    names = read_classes(Path(classes)) if isinstance(classes, (str, Path)) else tuple(classes or ())
    loss, maps = MaxLoss.parse(f"{max_loss}"), _features(features)

    def spec_of(name: str) -> ExportSpec:
        return ExportSpec(
            format=name,
            precision=precision,
            size=size,
            batch=batch,
            input=input,
            opset=opset,
            layout=layout,
            target=target,
            deployment_target=ios,
            calibration=None if calibration is None else str(calibration),
            max_loss=loss,
            classes=names,
            features=maps,
        )

    if is_detector(model):
        from lowzoo.export.detection.artifact import export_detector

        if format == ALL:
            raise LowzooError(f"{model} is a detector, which goes to ONNX alone", "Use --format onnx")
        if head is not None or classes is not None or features is not None:
            raise LowzooError(f"{model} is a detector, which has classes of its own", "Leave --head and --features out")
        _refuse_for_detector(
            {
                "--unchecked": unchecked,
                "--calibration": calibration is not None,
                "--max-loss": f"{max_loss}" != "1.0",
                "--ios": ios != "iOS16",
            },
            model,
        )
        with told(progress) as say:
            return export_detector(
                Path(str(model)), spec_of(format), out, suppressed=nms == "inside", force=force, say=say
            )
    if nms != "inside":
        raise LowzooError(f"{model} is no detector, so no boxes are suppressed", "Leave out --nms")
    if format == ALL:
        return _all(model, spec_of, head, out, force=force, unchecked=unchecked, progress=progress)
    spec = spec_of(format)
    with told(progress) as say:
        resolved, spec, remark = _with_head(model, spec, head)
        artifact = write_artifact(resolved, spec, out, force=force, unchecked=unchecked, say=say)
    return dataclasses.replace(artifact, warnings=(remark, *artifact.warnings)) if remark else artifact


def check(
    artifact: Annotated[str | Path | Sequence[str | Path], Option(metavar="ARTIFACT")],
    *,
    cross: bool = False,
    bound: float | None = None,
    against: Annotated[
        "str | Path | nn.Module | Resolved | None",
        Option(metavar="MODEL", early="lowzoo.checkpoints.early:refuse_early"),
    ] = None,
    head: Annotated[str | Path | None, Option(metavar="FILE|own|compatible")] = None,
    features: Annotated[
        int | Sequence[int] | str | None,
        Option(metavar="I,J,...|last|all", read=read_literally),
    ] = None,
    data: Annotated["str | Path | Sequence[Any] | ImageSource | None", Option(metavar="SRC")] = None,
    knn: bool = False,
    progress: Progress = None,
) -> "Report | CrossReport | DetectorReport":
    """Compare a file with PyTorch on real images, and tell what a phone's accelerators can do with it.

    With --cross, several files of one network are compared with one another: a bank of features by each is asked by
    the queries of every other.

    A file of `lowzoo export` says what it was made from, with a hash of the weights: other weights of that name are
    refused. Any other file is compared by --against MODEL.

    A file of `lowzoo export` also holds a hash of its own bytes. A file whose bytes changed since is reported; with
    --cross all of its pairs fail. Weights beside a graph of OpenVINO or ncnn that are not its own are refused.

    The exit status is 1 if a bound of its precision is broken, or if a pair fails.

    Args:
        artifact: An .onnx, .tflite, .pte, .xml, .param or .mnn file, or an .mlpackage folder; several with --cross,
            which takes tables of features, too: .parquet with path and vector, of `lowzoo embed` or made on a phone.
        cross: Compare every file with every other, and with --against MODEL: can an index of one be asked by the other?
        bound: k-NN points that the queries of one may lose on the bank of another, with --cross; 1 if absent.
        against: What it should compute; what it was made from if absent. In Python also what `lowzoo.load` gave, or a
            network.
        head: Classifier, or compatible; what it was made with if absent.
        features: Feature maps that the outputs are, from fine to coarse, of a file made elsewhere with several outputs.
        data: Images to compare on; the sample set if absent. In Python also a list of images.
        knn: Measure the k-NN loss of a float file too.
        progress: Takes each line of what is being done, such as `print`; None is silent.

    Returns:
        The parity, the bounds, and which of them are broken.

    Raises:
        LowzooError: No such artifact, of an unknown format or damaged, or what it was made from is not to be found.
        ParityError: It does not run, or what it gives cannot be compared.
    """
    from lowzoo.base.errors import LowzooError
    from lowzoo.base.progress import told
    from lowzoo.export.detection.checking import check_detector, holds_detector
    from lowzoo.zoo.given import resolved_model, word_of

    files = [artifact] if isinstance(artifact, (str, Path)) else list(artifact)
    source = str(data) if isinstance(data, Path) else data
    if cross:
        if head is not None or features is not None:
            raise LowzooError("an index is of features, and not of scores or maps", "Leave out --head and --features")
        if knn:
            raise LowzooError("--cross measures k-NN of every pair, and --knn is of one file", "Leave out --knn")
        return cross_check(files, against=against, data=data, bound=1.0 if bound is None else bound, progress=progress)
    if bound is not None:
        raise LowzooError("a bound on pairs needs pairs", "Add --cross, or leave out --bound")
    if len(files) != 1:
        raise LowzooError(
            f"{len(files)} files are checked by themselves or against one another", "Name one, or add --cross"
        )
    (artifact,) = files
    from lowzoo.export.checking import check_artifact

    with told(progress) as say:
        say(f"checking {artifact}")
        if holds_detector(Path(artifact)):
            given = {"--head": head is not None, "--features": features is not None, "--knn": knn}
            _refuse_for_detector(given, artifact)
            return check_detector(Path(artifact), against, data)
        reference: str | Resolved | None = None
        if against is not None:
            reference = word_of(against) if isinstance(against, (str, Path)) else resolved_model(against)
        return check_artifact(
            Path(artifact),
            reference,
            source,
            head=None if head is None else str(head),
            features=_features(features),
            with_knn=knn,
        )


def cross_check(
    artifacts: "Sequence[str | Path]",
    *,
    against: "str | Path | nn.Module | Resolved | None" = None,
    data: "str | Path | Sequence[Any] | ImageSource | None" = None,
    bound: float = 1.0,
    progress: "Callable[[str], None] | None" = None,
) -> "CrossReport":
    """Ask a bank of features by each file with the queries of every other: what `check --cross` does.

    Args:
        artifacts: Files of one network, in any formats and precisions, and tables of its features (.parquet with
            columns path and vector, of `lowzoo embed` or made elsewhere).
        against: The network in PyTorch, as one more.
        data: Labelled images; the sample set if absent.
        bound: k-NN points that the queries of one may lose on the bank of another.
        progress: Takes each line of what is being done, such as `print`; None is silent.

    Returns:
        Every ordered pair, and which of them are broken.

    Raises:
        LowzooError: Files of different networks or preparations, or something else than features.
    """
    from lowzoo.base.progress import told
    from lowzoo.export.cross import cross
    from lowzoo.zoo.given import resolved_model

    with told(progress) as say:
        network = None if against is None else resolved_model(against)
        source = str(data) if isinstance(data, Path) else data
        return cross(artifacts, against=network, data=source, bound=bound, say=say)


def _all(
    model: Any,
    spec_of: "Callable[[str], ExportSpec]",
    head: str | Path | None,
    out: str | Path | None,
    *,
    force: bool,
    unchecked: bool,
    progress: "Callable[[str], None] | None",
) -> "Exports":
    """The model in every format; a format that has nothing of the kind says so in its row."""
    import dataclasses

    from lowzoo.base.errors import LowzooError
    from lowzoo.base.progress import told
    from lowzoo.export.every import export_all
    from lowzoo.export.formats import FORMATS

    specs: dict[str, ExportSpec | LowzooError] = {}
    for name in FORMATS.names():
        try:
            specs[name] = spec_of(name)
        except LowzooError as error:
            specs[name] = error
    possible = [spec for spec in specs.values() if not isinstance(spec, LowzooError)]
    if not possible:
        spec_of(FORMATS.names()[0])  # which says what is wrong with all of them
    with told(progress) as say:
        resolved, first, remark = _with_head(model, possible[0], head)
        if remark:
            say(remark)
        named = {
            name: spec if isinstance(spec, LowzooError) else dataclasses.replace(spec, classes=first.classes)
            for name, spec in specs.items()
        }
        return export_all(resolved, named, out, force=force, unchecked=unchecked, say=say)


def _refuse_for_detector(given: Mapping[str, bool], what: Any) -> None:
    """Refuse options that have no effect on a detector."""
    from lowzoo.base.errors import LowzooError

    if named := [option for option, is_given in given.items() if is_given]:
        raise LowzooError(
            f"{what} is a detector, on which {' and '.join(named)} would have no effect", f"Leave out {named[0]}"
        )


def _features(given: int | Sequence[int] | str | None) -> Any:
    from lowzoo.export.spec.spec import parse_features

    if isinstance(given, str):
        return parse_features(given)
    if isinstance(given, int):
        return (given,)
    return None if given is None else tuple(given)


def _with_head(model: Model, spec: "ExportSpec", head: str | Path | None) -> "tuple[Resolved, ExportSpec, str]":
    """The network with the classifier that is wanted, the spec with the names of its classes, and a warning."""
    import dataclasses

    from lowzoo.base.errors import LowzooError
    from lowzoo.export.network.head import OWN, own_classes, read_head, with_head
    from lowzoo.zoo.compatible import COMPATIBLE, with_map
    from lowzoo.zoo.given import resolved_model

    resolved = resolved_model(model, image_size=spec.size, classes=head == OWN)
    if head == COMPATIBLE:
        return with_map(resolved), spec, ""
    if head is not None and head != OWN:
        if not resolved.headless:
            raise LowzooError(f"{resolved.name} has a classifier, and another one is named", "Leave out one of them")
        return with_head(resolved, *read_head(Path(head)), spec.classes, Path(head)), spec, ""
    if spec.features is None and (head == OWN or (resolved.classes and not resolved.headless)):
        classes, remark = own_classes(resolved, spec.classes)
        return resolved, dataclasses.replace(spec, classes=classes), remark
    if spec.classes:  # of a network whose last layer nothing tells from features
        _check_width(resolved, spec.classes)
    return resolved, spec, ""


def _check_width(resolved: "Resolved", classes: tuple[str, ...]) -> None:
    import torch

    from lowzoo.base.errors import LowzooError

    with torch.inference_mode():
        width = resolved.model(torch.zeros(1, *resolved.input_size)).shape[1]
    if width != len(classes):
        raise LowzooError(
            f"{resolved.name} gives {width} numbers, the list names {len(classes)} classes",
            "Name the list of its training",
        )
