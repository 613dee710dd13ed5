"""What the page is given: an ONNX file that gives features, and the facts that it prepares pictures by.

The page adds the head to the very bytes it was given, so what it needs to know of the graph is found out here: what the
output is called, how many features it has, and which notes of the file change.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.bench.subjects.artifact import OnnxFile, open_onnx, preparation_of
from lowzoo.data.pixels.decode import MAX_PIXELS
from lowzoo.export.artifacts.seal import SEAL
from lowzoo.export.network.prototypes import INITIALISER, MEANING, PROTOTYPES, SIMILARITY, UNIT_FEATURES
from lowzoo.export.spec.large import refuse_two_files
from lowzoo.preprocess.framing import border_colour, by_shorter_side, target_size
from lowzoo.preprocess.input_facts import InputFacts
from lowzoo.preprocess.transform import resizes_tall_first
from lowzoo.serving.runtime import Runtime, integrity_of

# A page is a phone's: more than anybody photographs in a room.
MOST_THINGS, MOST_PICTURES = 32, 30


@dataclass(frozen=True)
class Subject:
    """An ONNX file that can be taught.

    Args:
        file: The file.
        prepared: How its pictures are prepared.
        features: Name of its output.
        dimensions: Number of features.
        batch: Number of images in a run, or the name of a dynamic batch.
    """

    file: OnnxFile
    prepared: InputFacts
    features: str
    dimensions: int
    batch: int | str

    def task(self, runtime: Runtime) -> dict[str, Any]:
        """What the page is told, as plain values."""
        facts = self.file.facts()
        source = json.loads(self.file.metadata["lowzoo.source"])
        height, width = self.prepared.input_size[1:]
        return {
            "model": {
                "name": facts.name,
                "revision": facts.revision,
                "precision": facts.precision,
                "size_bytes": facts.size_bytes,
                "sha256": facts.sha256,
                "file": {"name": facts.file, "url": "model", "integrity": integrity_of(self.file.path)},
            },
            "input": {
                "name": self.file.input_name,
                "shape": [1, *self.file.shape[1:]],
                "channels_last": self.file.pixels_last,
            },
            "output": {"name": self.features, "dimensions": self.dimensions, "batch": self.batch},
            "picture": {
                "height": height,
                "width": width,
                "target": target_size(self.prepared),
                "by_shorter_side": by_shorter_side(self.prepared),
                "crop_mode": self.prepared.crop_mode,
                "interpolation": self.prepared.interpolation,
                "tall_first": resizes_tall_first(),
                "border": border_colour(self.prepared),
                "max_pixels": MAX_PIXELS,
            },
            "head": {
                "initialiser": INITIALISER,
                "unit_features": UNIT_FEATURES,
                "output": SIMILARITY,
                "meaning": MEANING,
                # What the file says of itself once it was taught; an entry of null is left out.
                "notes": {
                    "lowzoo.output": json.dumps(
                        {"name": SIMILARITY, "type": "float32", "layout": "BD", "meaning": MEANING}
                    ),
                    "lowzoo.settings": None,
                    SEAL: None,
                },
                "source": {**source, "head": PROTOTYPES},
            },
            "limits": {"things": MOST_THINGS, "pictures": MOST_PICTURES},
            "runtime": runtime.as_task(),
        }


def open_subject(path: Path) -> Subject:
    """Load a file and find out whether a page can teach it.

    Raises:
        LowzooError: No ONNX file of `lowzoo export` in one piece, or one that does not take a picture in colour and
            give features.
    """
    refuse_two_files(path, "a phone")
    file = open_onnx(path)
    remedy = "Name a MODEL, or a file of `lowzoo export --format onnx` without --head and --features"
    if "lowzoo.model" not in file.metadata or not _document(file.metadata.get("lowzoo.source")):
        raise LowzooError(f"{path} does not say what it was made from", remedy)
    if "lowzoo.classes" in file.metadata:
        raise LowzooError(f"{path} is a classifier already, and features are what is taught", remedy)
    prepared = _document(file.metadata.get("lowzoo.preprocessing"))
    if not {"crop_mode", "crop_pct", "resize"} <= set(prepared) or prepared.get("normalised_in_graph") is not True:
        raise LowzooError(f"{path} does not say how its pictures are prepared", remedy)
    channels = file.shape[3] if file.pixels_last else file.shape[1]
    if file.input_type != "tensor(uint8)":
        raise LowzooError(f"{path} takes {file.input_type}, and a page has bytes", "Export it with --input image")
    if channels != 3:
        raise LowzooError(f"{path} takes {channels} channels, and a camera has three", "Name a model of RGB pictures")
    if file.shape[0] != 1:
        raise LowzooError(
            f"{path} takes {file.shape[0]} pictures at once, and a page has one", "Export it with --batch 1"
        )
    return Subject(file, preparation_of(file), *_output(path, remedy))


def _document(text: str | None) -> dict[str, Any]:
    """A piece of metadata that is JSON; empty if it is absent or is none."""
    try:
        found = json.loads(text or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _output(path: Path, remedy: str) -> tuple[str, int, int | str]:
    """Name, features and batch of the file's one output."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    found = []
    for output in graph.output:
        sizes = output.type.tensor_type.shape.dim
        found.append(
            (output.name, output.type.tensor_type.elem_type, [size.dim_value or size.dim_param for size in sizes])
        )
    if len(found) == 1 and found[0][1] == onnx.TensorProto.FLOAT and len(found[0][2]) == 2:
        name, _, (batch, dimensions) = found[0]
        if isinstance(dimensions, int) and dimensions > 0:
            return name, dimensions, batch
    given = ", ".join(f"{name} {sizes}" for name, _, sizes in found)
    raise LowzooError(f"{path} does not give features (1, D) in float32 alone, but {given}", remedy)
