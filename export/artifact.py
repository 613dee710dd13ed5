"""The one door: a model and a spec in, a checked file out.

What is known of a family, told where one of its networks is refused.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from lowzoo.base import html
from lowzoo.base.errors import LowzooError
from lowzoo.catalog.families import OK, family_of
from lowzoo.export.artifacts.feeding import preprocessing_text, snippet
from lowzoo.export.artifacts.identity import identity, refuse_to_replace, remember
from lowzoo.export.artifacts.places import atomic_place, digest_of, size_of
from lowzoo.export.artifacts.seal import seal
from lowzoo.export.formats import Format
from lowzoo.export.mil import UnknownOperatorError
from lowzoo.export.network.features import with_features
from lowzoo.export.network.graph import exported_module
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.export.parity.diagnose import why
from lowzoo.export.parity.parity import Parity, bounds_of, enforce
from lowzoo.export.parity.runnable import Runnable
from lowzoo.export.quantization.calibrate import calibration_source
from lowzoo.export.spec.bounds import ParityError
from lowzoo.export.spec.large import least_bytes, refuse_too_large
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.preprocess.input_facts import both_sides, size_text
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.zoo.compatible import COMPATIBLE
from lowzoo.zoo.find import FOLDER_SCHEME, HUB_SCHEME
from lowzoo.zoo.resolve import FeatureMap, Resolved, load_model


@dataclass(frozen=True)
class Artifact:
    """A file that was checked.

    Args:
        path: Path of the file.
        spec: What it was exported with.
        model: Name of the model, with the tag of its weights.
        revision: Which weights exactly.
        weights: Hash of every tensor that was exported.
        input_shape: Shape of the graph's input; 0 stands for a dynamic batch.
        parity: How far it is from PyTorch.
        size_bytes: Size of the file.
        sha256: SHA-256 of the file.
        preprocess: How an app prepares a picture, in words.
        snippet: The same in Swift (Core ML), or Kotlin and, for ONNX, JavaScript.
        warnings: What a user should know, one sentence each.
        features: What the outputs are, in their order, where they are feature maps.
        unchecked: Why the file itself could not be run, and parity is of the graph it was written from; else empty.
    """

    path: Path
    spec: ExportSpec
    model: str
    revision: str
    weights: str
    input_shape: tuple[int, ...]
    parity: Parity
    size_bytes: int
    sha256: str
    preprocess: str
    snippet: str
    warnings: tuple[str, ...] = ()
    features: tuple[FeatureMap, ...] = ()
    unchecked: str = ""

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON, with the bounds that were kept."""
        return {
            "schema": "lowzoo.artifact/1",
            **dataclasses.asdict(self),
            "path": str(self.path),
            "input_shape": list(self.input_shape),
            "bounds": dataclasses.asdict(bounds_of(self.spec)),
        }

    def to_json(self) -> str:
        """`as_dict` as a document."""
        return json.dumps(self.as_dict(), indent=2) + "\n"

    def lines(self) -> Iterator[str]:
        """The lines that the command prints."""
        from lowzoo.export.artifacts.shown import artifact_lines

        return artifact_lines(self)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return html.block(self.lines())


def default_path(resolved: Resolved, spec: ExportSpec) -> Path:
    """`MODEL_SIZE_PRECISION.onnx` in the current folder, with whatever else of the spec is not the default.

    The model's name is whole, its tag and a folder's dots included, so that two exports share a name only if they are
    the same.
    """
    name = resolved.source.removeprefix(FOLDER_SCHEME) if resolved.source.startswith(FOLDER_SCHEME) else resolved.name
    if name.startswith(HUB_SCHEME):  # of a folder of a repository both, as folders of several are called the same
        name = "-".join(name.split("/")[1:])
    name = name.rstrip("/").rpartition("/")[2].replace(":", "-") or "model"
    height, width = resolved.input_size[1:]
    parts = [name, f"{height}" if height == width else f"{height}x{width}", spec.precision]
    parts += [spec.target] if spec.target != "cpu" else []
    parts += [spec.input] if spec.input != "image" else []
    parts += [f"batch-{spec.batch}"] if spec.batch != 1 else []
    parts += ["classifier"] if spec.classes else []
    parts += [COMPATIBLE] if resolved.head == COMPATIBLE else []
    parts += [f"features-{'-'.join(str(each.index) for each in resolved.features)}"] if resolved.features else []
    return Path(f"{'_'.join(parts)}{spec.kind.ending or spec.kind.suffix}")


def write_artifact(
    model: Resolved | str,
    spec: ExportSpec | None = None,
    out: str | Path | None = None,
    checker: ParityChecker | None = None,
    *,
    force: bool = False,
    unchecked: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Artifact:
    """Write the model as `spec` says, run the file against PyTorch on real images, and keep it only if they agree.

    Args:
        model: A resolved model or a MODEL word.
        spec: Format and shape; an ONNX file of the weights' own size by default.
        out: The file; `default_path` by default, also in a folder: one that is there, or a text that ends in a slash.
        checker: One that was used before for this model, so that PyTorch does not compute the same again.
        force: Replace a file that is another export.
        unchecked: Keep a file that nothing here can run, marked so; whatever can be checked still is.
        say: Takes a line on what is being done, where a search takes its time.

    Raises:
        LowzooError: Unknown model, impossible size, or a place that cannot be written to or holds something else.
        ParityError: The file does not compute what PyTorch computes; nothing is left on disk.
    """
    spec = spec or ExportSpec()
    kind = spec.kind
    into = _is_folder(out, kind)
    if spec.precision in kind.calibrated:
        calibration_source(spec.calibration)  # refused before the work, and not after it
    resolved = load_model(model, image_size=spec.size) if isinstance(model, str) else model
    channels, height, width = Preprocessing.of(resolved).input_size
    if spec.size is not None and (height, width) != both_sides(spec.size):
        raise LowzooError(
            f"{resolved.name} was created for {size_text((height, width))} px, not {size_text(spec.size)} px",
            "Name the model by its word, or create it at that size",
        )
    if spec.features is not None and not resolved.features:
        resolved = with_features(resolved, spec.features)
    refuse_too_large(resolved.model, spec, resolved.name)
    path = default_path(resolved, spec) if out is None else Path(out)
    path = path / default_path(resolved, spec) if into else path
    own = identity(resolved, spec)
    # Anything else that stands there is refused whether it may be replaced or not.
    if kind.is_artifact(path) and not force:
        refuse_to_replace(path, kind.notes(path), own)
    if checker is None or checker.resolved.features != resolved.features:
        checker = ParityChecker(resolved, say=say)
    with atomic_place(path, folder=kind.folder, needed=least_bytes(resolved.model, spec)) as temporary:
        module = exported_module(resolved, spec)
        with known_reason(resolved, spec):
            warnings: tuple[str, ...] = kind.call("writer", module, resolved, spec, temporary, checker)
        seal(temporary)
        bounds = bounds_of(spec)
        checker.say("comparing the file with PyTorch")
        try:
            runnable, why_not = _opened(module, resolved, spec, temporary, unchecked=unchecked)
            parity = checker.parity(runnable, with_knn=bounds.knn_loss is not None)
            enforce(parity, bounds, spec.precision)
        except ParityError as error:
            reason, remedy = why(error, checker, spec.precision, bounds, spec.batch)
            message = f"{error.message}; {reason}" if reason else error.message
            raise ParityError(message, f"Nothing was written; {remedy}") from error
    remember(resolved, own["lowzoo.weights"])
    batch = 0 if spec.batch == "dynamic" else spec.batch
    return Artifact(
        path=path,
        spec=spec,
        model=resolved.name,
        revision=resolved.revision,
        weights=own["lowzoo.weights"],
        input_shape=(batch, height, width, channels) if spec.pixels_last else (batch, channels, height, width),
        parity=parity,
        size_bytes=size_of(path),
        sha256=digest_of(path),
        preprocess=preprocessing_text(resolved, spec),
        snippet=snippet(resolved, spec),
        warnings=(
            *_left_out(resolved, spec),
            *_stand_ins(resolved, checker),
            *_marked(why_not),
            *warnings,
            *filter(None, (runnable.not_run,)),
        ),
        features=resolved.features,
        unchecked=why_not,
    )


def _is_folder(out: str | Path | None, kind: Format) -> bool:
    """Whether a place is a folder to write into, and not the artifact itself, which may be a folder too.

    Raises:
        LowzooError: It is an artifact that is a folder, and something else is to be written.
    """
    if out is None or (kind.folder and Path(out).suffix == kind.suffix):
        return False
    if (Path(out) / "Manifest.json").is_file():
        raise LowzooError(f"cannot write {out}: it is a directory", f"Name a place ending in {kind.suffix}")
    return Path(out).is_dir() or str(out).endswith(("/", os.sep))


def _opened(
    module: nn.Module, resolved: Resolved, spec: ExportSpec, path: Path, *, unchecked: bool
) -> tuple[Runnable, str]:
    """The file in its runtime, or what stands for it, and why."""
    try:
        return spec.kind.load(path), ""
    except UnknownOperatorError as error:
        if not unchecked or spec.kind.marker is None:
            raise LowzooError(
                f"the file of {resolved.name} cannot be checked here: {error.message}",
                "Nothing was written; --unchecked writes it all the same, marked so",
            ) from error
        runnable: Runnable = spec.kind.call("marker", module, resolved, spec, path, error.message)
        seal(path)
        return runnable, error.message


def _marked(why_not: str) -> tuple[str, ...]:
    if not why_not:
        return ()
    return (
        f"UNCHECKED: {why_not}; parity is of the graph that the file was written from. Run `lowzoo check` on a Mac "
        "before it is used",
    )


def _stand_ins(resolved: Resolved, checker: ParityChecker) -> tuple[str, ...]:
    if not checker.stand_ins:
        return ()
    return (
        f"no embedded picture has {resolved.input_size[0]} channels: the file was compared with PyTorch on the colours "
        "of pictures, repeated",
    )


def _left_out(resolved: Resolved, spec: ExportSpec) -> tuple[str, ...]:
    if resolved.features or resolved.compatible:
        return ()  # nobody who asks for maps misses a classifier
    if resolved.headless and resolved.classes and not spec.classes:
        return (
            f"the classifier of {resolved.classes} classes that {resolved.name} comes with is left out: the file gives "
            "features; --head own keeps it",
        )
    return ()


@contextlib.contextmanager
def known_reason(resolved: Resolved, spec: ExportSpec) -> Iterator[None]:
    """Add to a refusal that the family is known not to export to the format, and why.

    Raises:
        LowzooError: What the block raises, with that.
    """
    try:
        yield
    except ParityError:
        raise
    except LowzooError as error:
        cfg = getattr(resolved.model, "pretrained_cfg", None) or {}
        family = family_of(cfg.get("architecture", ""))
        reason = family.results.get(spec.format, OK) if family else OK
        if family is None or reason == OK or reason in error.message:
            raise
        known = f"; known of its family {family.name}, tried on {family.tried}: {reason}"
        raise type(error)(f"{error.message}{known}", error.remedy) from error
