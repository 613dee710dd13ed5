"""The one door: a model and a spec in, a checked file out."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from lowzoo.errors import LowzooError
from lowzoo.export import parity as check
from lowzoo.export.graph import exported_module
from lowzoo.export.onnx import write_onnx
from lowzoo.export.parity import Parity
from lowzoo.export.spec import ExportSpec
from lowzoo.files import atomic_path
from lowzoo.resolve import Resolved, load_model

SUFFIXES = {"onnx": ".onnx"}
# One writer a format: (module, resolved, spec, path) -> None.
_WRITERS = {"onnx": write_onnx}


@dataclass(frozen=True)
class Artifact:
    """A file that was checked.

    Args:
        path: Of the file.
        spec: What it was exported with.
        model: Name of the model, with the tag of its weights.
        revision: Which weights exactly.
        input_shape: Of the graph's input; 0 stands for a dynamic batch.
        parity: How far it is from PyTorch.
        size_bytes: Of the file.
        sha256: Of the file.
    """

    path: Path
    spec: ExportSpec
    model: str
    revision: str
    input_shape: tuple[int, ...]
    parity: Parity
    size_bytes: int
    sha256: str

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**asdict(self), "path": str(self.path), "input_shape": list(self.input_shape)}


def default_path(resolved: Resolved, spec: ExportSpec) -> Path:
    """`NAME.onnx` in the current folder, where NAME is free of separators."""
    name = resolved.name.rstrip("/").rsplit("/", 1)[-1]
    return Path(f"{name}{SUFFIXES[spec.format]}")


def export(model: Resolved | str, spec: ExportSpec | None = None, out: Path | None = None) -> Artifact:
    """Write the model as `spec` says, run the file against PyTorch on real images, and keep it only if they agree.

    Args:
        model: A resolved model or a MODEL word.
        spec: Format and shape; an ONNX file of the weights' own size by default.
        out: The file; `NAME.onnx` in the current folder by default.

    Raises:
        LowzooError: Unknown model, impossible size, or a place that cannot be written to.
        ParityError: The file does not compute what PyTorch computes; nothing is left on disk.
    """
    spec = spec or ExportSpec()
    resolved = load_model(model, image_size=spec.size) if isinstance(model, str) else model
    if spec.size is not None and resolved.input_size[1:] != (spec.size, spec.size):
        raise LowzooError(
            f"{resolved.name} was created for {resolved.input_size[1]} px, not {spec.size} px",
            "Name the model by its word, or create it at that size",
        )
    path = out or default_path(resolved, spec)
    module = exported_module(resolved, spec)
    with atomic_path(path) as temporary:
        _WRITERS[spec.format](module, resolved, spec, temporary)
        inputs = check.real_inputs(resolved, spec)
        batch = 1 if spec.batch == "dynamic" else spec.batch
        found = check.onnx_features(temporary, inputs, batch)
        parity = check.compare(check.torch_features(module, inputs), found, check.engine_name())
        check.enforce(parity, spec.precision)
    content = path.read_bytes()
    shape = (0 if spec.batch == "dynamic" else spec.batch, *inputs.shape[1:])
    return Artifact(
        path=path,
        spec=spec,
        model=resolved.name,
        revision=resolved.revision,
        input_shape=shape,
        parity=parity,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
