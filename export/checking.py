"""Check a file that was made earlier or elsewhere: the parity of exporting, and what phones can do with it."""

import dataclasses
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lowzoo.base import html
from lowzoo.base.errors import LowzooError
from lowzoo.data.source import Images
from lowzoo.export.artifacts.identity import given_reference, reference_of
from lowzoo.export.artifacts.metadata import UNCHECKED
from lowzoo.export.artifacts.places import size_of
from lowzoo.export.artifacts.seal import is_unchanged
from lowzoo.export.formats import FORMATS, Format, format_of, suffixes
from lowzoo.export.mil import MilError, UnknownOperatorError
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.export.parity.diagnose import diagnosis
from lowzoo.export.parity.parity import Parity, bounds_of, broken
from lowzoo.export.parity.runnable import Runnable
from lowzoo.export.readiness import Readiness, advice_of
from lowzoo.export.spec.bounds import Bounds, ParityError
from lowzoo.export.spec.large import DATA_SUFFIX
from lowzoo.export.spec.spec import ExportSpec, Features, MaxLoss
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.zoo.resolve import Resolved

# How files of a format begin. A file of MNN has no mark.
_MARKS = {
    "litert": re.compile(rb"....TFL3", re.DOTALL),
    "executorch": re.compile(rb"....ET\d\d", re.DOTALL),
    "openvino": re.compile(rb"<\?xml|<net"),
    "ncnn": re.compile(rb"7767517"),
    # The version of the file, a small number, and the name of what wrote it.
    "onnx": re.compile(rb"\x08[\x01-\x1f][\x12\x1a:]"),
}
_TEXTS, _BINARIES = ("openvino", "ncnn"), ("onnx", "litert", "executorch", "mnn")
_FIRST, _SPACE = 256, 0x20


@dataclass(frozen=True)
class Report:
    """What a check found.

    Args:
        path: Path of the artifact.
        format: Format of the artifact.
        precision: What it says of itself, "fp32" if nothing.
        model: What it was compared with.
        revision: Which weights exactly.
        same_weights: Whether they are the ones that the file was made from; None if it does not say.
        input_shape: Shape of the graph's input; 0 stands for a dynamic batch.
        parity: How far it is from PyTorch.
        bounds: Bounds for its precision.
        broken: Each broken bound, with both numbers, and the reason where it is the network's.
        readiness: What phones can do with it.
        unchecked: Why nothing could run it when it was written, as it says; empty for every other file.
        taught: What its head is and how exactly it is computed, of a file of `lowzoo demo`; empty for every other.
        unchanged: Whether no byte of it changed since its export; None if it does not say what its bytes were.
    """

    path: Path
    format: str
    precision: str
    model: str
    revision: str
    same_weights: bool | None
    input_shape: tuple[int, ...]
    parity: Parity
    bounds: Bounds
    broken: tuple[str, ...]
    readiness: Readiness
    unchecked: str = ""
    taught: str = ""
    unchanged: bool | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {"schema": "lowzoo.check/1", **dataclasses.asdict(self), "path": str(self.path)}

    def to_json(self) -> str:
        """`as_dict` as a document."""
        return json.dumps(self.as_dict(), indent=2) + "\n"

    def lines(self) -> Iterator[str]:
        """The lines that the command prints."""
        from lowzoo.export.artifacts.shown import report_lines

        return report_lines(self)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return html.block(self.lines())


def check_artifact(
    path: Path,
    against: str | Resolved | None = None,
    data: Images = None,
    *,
    head: str | None = None,
    features: Features | None = None,
    with_knn: bool = False,
) -> Report:
    """Compare an artifact with a network and analyse it.

    Args:
        path: Path of the file or folder.
        against: The network, or its MODEL word; what the artifact was made from if None.
        data: Images (SRC); the sample set if None.
        head: "own" or the file of a linear probe, for a classifier; the one that it was made from if None.
        features: The feature maps that its outputs are, from fine to coarse, for a file that does not say so.
        with_knn: Measure the k-NN loss whatever the precision.

    Raises:
        LowzooError: No such artifact, of an unknown format or damaged, or what it was made from is not to be found.
        ParityError: It does not run, or what it gives cannot be compared.
    """
    artifact = open_artifact(path)
    if isinstance(against, Resolved):
        reference = given_reference(against, path, artifact.metadata, head, features)
    else:
        reference = reference_of(path, artifact.metadata, artifact.side, against, head, features)
        _refuse_other_preparation(reference.resolved, artifact)
    resolved, head_error = reference.resolved, None
    if reference.backbone is not None:
        from lowzoo.export.formats.onnx.taught import open_inside

        # Bounds are of features, so these are compared, and the head is computed from them once more.
        resolved = reference.backbone
        artifact, head_error = open_inside(artifact)
    precision = precision_of(artifact)
    # What was promised when it was exported, and not what is usual.
    promised = artifact.metadata.get("lowzoo.max_loss")
    max_loss = MaxLoss.parse(promised) if promised else MaxLoss()
    bounds = bounds_of(ExportSpec(format=artifact.format, precision=precision, max_loss=max_loss))
    checker = ParityChecker(resolved, data)
    parity = checker.parity(artifact, with_knn=with_knn or bounds.knn_loss is not None)
    wrong = broken(parity, bounds)
    if wrong and reference.same is not False and (reason := diagnosis(checker, precision, bounds)[0]):
        wrong.append(reason)
    return Report(
        path=path,
        format=artifact.format,
        precision=precision,
        model=resolved.name,
        revision=resolved.revision,
        same_weights=reference.same,
        input_shape=artifact.shape,
        parity=parity,
        bounds=bounds,
        broken=tuple(wrong),
        readiness=_readiness(artifact),
        unchecked=artifact.metadata.get(UNCHECKED, ""),
        taught="" if head_error is None else head_error.words(),
        unchanged=is_unchanged(path, artifact.metadata),
    )


def open_artifact(path: Path) -> Runnable:
    """Load an artifact by its suffix.

    Raises:
        LowzooError: No such file, another format, or a damaged one.
    """
    if not path.exists():
        raise LowzooError(f"{path} does not exist", "Name a file of `lowzoo export`")
    kind = format_of(path)
    if kind is None:
        raise _no_artifact(path)
    try:
        return kind.load(path)
    except UnknownOperatorError as error:
        said = "; it was exported with --unchecked and says so" if UNCHECKED in kind.notes(path) else ""
        raise LowzooError(f"{path} cannot be run here: {error.message}{said}", error.remedy) from error
    except (ParityError, MilError) as error:
        # Here the artifact is what the user named, so a damaged one is misuse.
        if other := _other_kind(path, kind):
            raise LowzooError(f"{path} is no {kind.title} file: {other}", "Name the file that was exported") from error
        message = error.message.replace(f"{path} ", "it ").replace(str(path), "it")
        raise LowzooError(f"{path} cannot be opened: {message}", error.remedy or "Export it again") from error


def _no_artifact(path: Path) -> LowzooError:
    """What is wrong with a path of no known format, and what to name instead."""
    for kind in FORMATS.specs():
        if path.suffix in kind.parts and (graph := path.with_suffix(kind.suffix)).is_file():
            return LowzooError(f"{path} holds the weights of {graph.name}", f"Name {graph}")
        if path.name.endswith(f"{kind.suffix}{DATA_SUFFIX}") and (graph := path.with_suffix("")).is_file():
            return LowzooError(f"{path} holds the weights of {graph.name}", f"Name {graph}")
        if path.suffix.lower() == kind.suffix:
            if path.is_dir() != kind.folder:
                found, wanted = ("folder", "file") if path.is_dir() else ("file", "folder")
                said = f"{path} is a {found}, and artifacts of {kind.title} are {wanted}s"
                return LowzooError(said, f"Name the {wanted} that was exported")
            return LowzooError(f"{path} does not end in {kind.suffix}", f"Rename it to end in {kind.suffix}")
    known = ", ".join(f"*{suffix}" for suffix in suffixes())
    return LowzooError(f"{path} is no artifact of a known format", f"Name one of: {known}")


def _other_kind(path: Path, kind: Format) -> str:
    """What a file is that its runtime cannot read, by its first bytes; empty if it may be a damaged one of its kind."""
    try:
        with path.open("rb") as opened:
            first = opened.read(_FIRST)
    except OSError:  # a folder, or what may not be read: the runtime's own words stand
        return ""
    if not first:
        return "it is empty"
    own = _MARKS.get(kind.name)
    if kind.name not in (*_TEXTS, *_BINARIES) or (own is not None and own.match(first)):
        return ""
    if other := next((name for name, mark in _MARKS.items() if mark.match(first)), ""):
        return f"its first bytes are those of {FORMATS[other].title}"
    is_text = all(byte >= _SPACE or byte in b"\t\r\n" for byte in first)
    return "it is text" if is_text and kind.name in _BINARIES else ""


def precision_of(artifact: Runnable) -> str:
    """What an artifact says of its precision, "fp32" if nothing.

    Raises:
        LowzooError: The format has no such precision, so that no bounds are known for it.
    """
    precision, known = artifact.metadata.get("lowzoo.precision", "fp32"), FORMATS[artifact.format].precisions
    if precision not in known:
        raise LowzooError(f"{artifact.path} says that its precision is {precision!r}", f"Use one of {', '.join(known)}")
    return precision


def _refuse_other_preparation(resolved: Resolved, artifact: Runnable) -> None:
    """A file and a model that disagree on the preparation of pictures cannot be compared on the same ones."""
    said, wanted = artifact.said("preprocessing"), Preprocessing.of(resolved)
    if artifact.channels != wanted.input_size[0]:
        raise LowzooError(
            f"{artifact.path} takes {artifact.channels} channels, {resolved.name} takes {wanted.input_size[0]}",
            "Name another model by --against",
        )
    resize = said.get("resize")
    stated = {**said, **(resize if isinstance(resize, dict) else {})}
    # A graph that takes pixels normalises them itself, and its features show whether it does so rightly; how a picture
    # is cut and resized happens before every graph, and no feature shows it.
    words = ("crop_mode", "crop_pct", "interpolation", *(() if artifact.pixels else ("mean", "std")))
    for word in words:
        own = json.loads(json.dumps(getattr(wanted, word)))
        other = stated.get(word, own)
        if own != other:
            raise LowzooError(
                f"{artifact.path} wants a {word} of {json.dumps(other)}, {resolved.name} of {json.dumps(own)}",
                "Name another model by --against",
            )


def _readiness(artifact: Runnable) -> Readiness:
    found: Readiness | None = FORMATS[artifact.format].call("reader", artifact.path, artifact)
    return found or Readiness(size_of(artifact.path), {}, (), advice_of(artifact))
