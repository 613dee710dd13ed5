"""The door of a detector's export: the folder of its run in, a checked file out."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowzoo.base import html
from lowzoo.base.errors import LowzooError
from lowzoo.base.next_line import next_line
from lowzoo.data.pixels.decode import BadImage, decode_rgb
from lowzoo.data.stores.samples import demonstration_photos
from lowzoo.detection.folder import TrainedDetector, load_detector
from lowzoo.detection.sets.batches import fitted
from lowzoo.export.artifacts.identity import refuse_to_replace
from lowzoo.export.artifacts.places import atomic_place, digest_of, size_of
from lowzoo.export.artifacts.seal import SEAL, UNSEALED, seal
from lowzoo.export.detection.graph import DetectorGraph
from lowzoo.export.detection.onnx_file import DetectorFile, write_detector
from lowzoo.export.detection.parity import DetectionParity, compare, enforce, framed
from lowzoo.export.detection.snippet import detector_snippet
from lowzoo.export.formats.onnx.runtime import notes_of_onnx
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.preprocess.input_facts import both_sides, size_text
from lowzoo.zoo.digest import weights_digest

PICTURES = "pictures"
_REFUSED = {
    "coreml": "Core ML's converter has no operator that reads a region off a map (RoIAlign)",
    "executorch": "ExecuTorch's XNNPACK has no RoIAlign and no suppression of boxes",
    "litert": "LiteRT's converter has no RoIAlign",
}


@dataclass(frozen=True)
class DetectorArtifact:
    """A detector's file that was checked.

    Args:
        path: Path of the file.
        detector: Name of the detector.
        revision: Digest of its weights.
        size: (height, width) of the picture that it takes.
        outputs: Shape of each output.
        classes: Names of the classes, from 0 on.
        suppressed: Whether the last suppression is in the graph.
        parity: How far it is from PyTorch.
        size_bytes: Size of the file.
        sha256: SHA-256 of the file.
        run: Folder of the detector's run.
        snippet: Python that finds objects in a photograph of any size.
        warnings: What a user should know, one sentence each.
    """

    path: Path
    detector: str
    revision: str
    size: tuple[int, int]
    outputs: dict[str, tuple[int, ...]]
    classes: tuple[str, ...]
    suppressed: bool
    parity: DetectionParity
    size_bytes: int
    sha256: str
    run: Path
    snippet: str
    warnings: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The facts as a JSON document."""
        places = {"path": str(self.path), "run": str(self.run)}
        facts = {"schema": "lowzoo.detector_artifact/1", **dataclasses.asdict(self), **places}
        return json.dumps(facts, indent=2) + "\n"

    def lines(self) -> Iterator[str]:
        """The lines that the command prints."""
        yield f"{self.path}: {self.detector} ({self.revision}), {self.size_bytes / 1e6:.1f} MB"
        yield f"Input: image, uint8 (1, {self.size[0]}, {self.size[1]}, 3), RGB in 0 to 255, normalised in the graph"
        yield "Picture: scaled to fit, at the upper left, the rest filled with the mean colour"
        for name, shape in self.outputs.items():
            yield f"Output: {name} {shape}, {_meaning(name, suppressed=self.suppressed)}"
        inside = "inside the graph" if self.suppressed else "left to the app, per class, above an overlap of 0.5"
        yield f"Suppression of overlapping boxes: {inside}; that of proposals is in the graph"
        yield f"Classes: {', '.join(self.classes)}"
        yield self.parity.line()
        yield ""
        for line in self.snippet.splitlines():
            yield f"  {line}".rstrip()
        for warning in self.warnings:
            yield f"Note: {warning}"
        yield ""
        yield next_line(("check", self.path, "--against", self.run), ("bench", self.path))

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return html.block(self.lines())


def export_detector(
    folder: str | Path,
    spec: ExportSpec,
    out: str | Path | None,
    *,
    suppressed: bool = True,
    force: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> DetectorArtifact:
    """Write a trained detector, hold the file against PyTorch on real pictures, and keep it only if they agree.

    Args:
        folder: Of the detector's run.
        spec: Format, size and operator set.
        out: The file; NAME_SIZE.onnx in this folder if None.
        suppressed: Whether the last suppression is in the graph.
        force: Replace a file that is another export.
        say: Takes a line on what is being done.

    Raises:
        LowzooError: A format that cannot hold a detector, an impossible size, or a place that cannot be written to.
        ParityError: The file finds something else; nothing is written.
    """
    if spec.format != "onnx":
        reason = _REFUSED.get(spec.format, f"what lowzoo writes for {spec.kind.title} gives features, and no boxes")
        raise LowzooError(f"a detector does not go into {spec.kind.title}: {reason}", "Use --format onnx")
    for name, wanted, option in (
        (spec.precision, "fp32", "--precision"),
        (str(spec.batch), "1", "--batch"),
        (spec.input, "image", "--input"),
        (spec.layout, "nhwc", "--layout"),
        (spec.target, "cpu", "--for"),
    ):
        if name != wanted:
            raise LowzooError(f"a detector is exported with {option} {wanted}, not {name}", f"Leave out {option}")
    trained = load_detector(folder)
    if trained.detector.masks and not suppressed:
        raise LowzooError(
            f"{trained.name} draws masks of the boxes that suppression leaves, so it stays inside", "Leave out --nms"
        )
    size = _size(trained, spec)
    path = Path(f"{trained.name}_{size_text(size).replace(' ', '')}.onnx") if out is None else Path(out)
    if path.is_dir() or str(out).endswith("/"):
        path = path / f"{trained.name}_{size_text(size).replace(' ', '')}.onnx"
    graph = DetectorGraph(
        trained.detector, size, trained.backbone.mean, trained.backbone.std, suppressed=suppressed
    ).eval()
    weights = f"sha256:{weights_digest(trained.detector)}"
    metadata = _metadata(trained, graph, spec, weights)
    if path.is_file() and not force:
        refuse_to_replace(path, notes_of_onnx(path), metadata)
    pictures = [framed(each, size, trained.backbone.mean) for each in pictures_of(Path(folder))]
    with atomic_place(path, folder=False) as temporary:
        say("tracing the detector")
        write_detector(graph, temporary, metadata, trained.name, spec.opset)
        seal(temporary)
        say("comparing the file with PyTorch")
        file = DetectorFile(temporary)
        parity = compare(trained, pictures, runner(file, trained, suppressed=suppressed), file.engine)
        enforce(parity)
        outputs = {name: tuple(value.shape) for name, value in file.run(pictures[0]).items()}
    warnings = []
    if parity.empty:
        warnings.append("nothing was detected in any picture, so nothing was compared; check the file with --data")
    if smaller := _smaller(trained, size):
        warnings.append(smaller)
    return DetectorArtifact(
        path,
        trained.name,
        trained.revision,
        size,
        outputs,
        trained.class_names,
        suppressed,
        parity,
        size_of(path),
        digest_of(path),
        Path(folder),
        detector_snippet(path.name, size, trained.backbone.mean, suppressed=suppressed, masks=trained.detector.masks),
        tuple(warnings),
    )


def runner(
    file: DetectorFile, trained: TrainedDetector, *, suppressed: bool
) -> Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]:
    """What gives a file's detections, with the suppression that was left to the app."""
    if suppressed:
        return file.run

    def run(picture: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        import torch
        from torchvision.ops import batched_nms

        found = file.run(picture)
        boxes, scores = (torch.from_numpy(found[name]) for name in ("boxes", "scores"))
        row, label = torch.where(scores > trained.detector.shape.score_threshold)
        heads: Any = trained.detector.heads
        kept = batched_nms(boxes[row, label], scores[row, label], label, heads.nms_thresh)[: heads.detections_per_img]
        row, label = row[kept], label[kept]
        return {
            "boxes": boxes[row, label].numpy(),
            "scores": scores[row, label].numpy(),
            "classes": label.numpy(),
        }

    return run


def pictures_of(folder: Path) -> list[NDArray[np.uint8]]:
    """Pictures that a run was tested on, which its folder keeps, and the photographs inside the package."""
    own = sorted((folder / PICTURES).glob("*")) if (folder / PICTURES).is_dir() else []
    found = []
    for each in own:
        with contextlib.suppress(BadImage):  # the number of those that were compared is said
            found.append(decode_rgb(each.read_bytes(), str(each)))
    return found + [decode_rgb(data, name) for name, data in demonstration_photos()]


def _size(trained: TrainedDetector, spec: ExportSpec) -> tuple[int, int]:
    divisor = trained.detector.shape.divisor
    if spec.size is None:
        side = -(-trained.shorter // divisor) * divisor
        return side, side
    size = both_sides(spec.size)
    if any(side % divisor for side in size):
        near = tuple(max(divisor, round(side / divisor) * divisor) for side in size)
        raise LowzooError(
            f"{trained.name} takes sides that are multiples of {divisor} px, not {size_text(size)}",
            f"Name --size {near[0]}x{near[1]}",
        )
    return size


def _smaller(trained: TrainedDetector, size: tuple[int, int]) -> str:
    """A warning if the file sees a photograph of 4:3 smaller than AP was measured at, with both sizes."""
    divisor = trained.detector.shape.divisor
    for name, (height, width) in (("a lying", (3, 4)), ("an upright", (4, 3))):
        measured = fitted(height, width, trained.shorter, trained.longest)
        scale = min(size[0] / height, size[1] / width)
        shown = round(height * scale), round(width * scale)
        if shown[0] < measured[0]:
            wanted = tuple(-(-side // divisor) * divisor for side in measured)
            return (
                f"{name} picture of 4:3 is seen at {size_text(shown)} pixels, and AP "
                f"was measured at {size_text(measured)}; for such pictures export with --size {wanted[0]}x{wanted[1]}"
            )
    return ""


def _metadata(trained: TrainedDetector, graph: DetectorGraph, spec: ExportSpec, weights: str) -> dict[str, str]:
    preprocessing = {
        "colour": "RGB",
        "crop_mode": "border",
        "crop_pct": 1.0,
        "resize": {"rule": "fit", "height": graph.size[0], "width": graph.size[1], "interpolation": "bilinear"},
        "place": "upper left",
        "border": [round(255 * value) for value in trained.backbone.mean],
        "mean": list(trained.backbone.mean),
        "std": list(trained.backbone.std),
        "normalised_in_graph": True,
    }
    outputs = [{"name": name, "meaning": _meaning(name, suppressed=graph.suppressed)} for name in graph.output_names()]
    decides = json.dumps([weights, graph.size, graph.suppressed, spec.opset])
    return {
        "lowzoo.version": version("lowzoo"),
        "lowzoo.task": "segment" if trained.detector.masks else "detect",
        "lowzoo.model": trained.name,
        "lowzoo.revision": trained.revision,
        "lowzoo.backbone": trained.backbone.name,
        "lowzoo.precision": "fp32",
        "lowzoo.preprocessing": json.dumps(preprocessing),
        "lowzoo.input": json.dumps({"name": "image", "type": "uint8", "layout": "BHWC"}),
        "lowzoo.outputs": json.dumps(outputs),
        "lowzoo.classes": json.dumps(trained.class_names),
        "lowzoo.suppression": "inside" if graph.suppressed else "outside",
        "lowzoo.weights": weights,
        "lowzoo.source": json.dumps({"model": trained.name}),
        "lowzoo.settings": f"sha256:{hashlib.sha256(decides.encode()).hexdigest()[:32]}",
        SEAL: UNSEALED,
    }


def _meaning(name: str, *, suppressed: bool) -> str:
    if not suppressed:
        return {"boxes": "x0, y0, x1, y1 in pixels of the input, a box a class", "scores": "of each class"}[name]
    return {
        "boxes": "x0, y0, x1, y1 in pixels of the input",
        "scores": "best first, 0 in rows without a detection",
        "classes": "numbers from 0 on, -1 in rows without a detection",
        "masks": "probabilities inside the box",
    }[name]
