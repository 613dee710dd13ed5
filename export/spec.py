"""What is to be exported, as data, checked at the door."""

from dataclasses import dataclass
from typing import Literal

from lowzoo.errors import LowzooError

FORMATS = ("onnx",)
PLANNED_FORMATS = ("coreml", "executorch", "litert")
PRECISIONS = {"onnx": ("fp32",)}
# The dynamo exporter writes 18 and later; onnxruntime 1.20, the oldest supported, reads up to 21.
OPSETS = range(18, 22)


@dataclass(frozen=True)
class ExportSpec:
    """One artifact.

    Args:
        format: "onnx".
        precision: "fp32".
        size: Side of the input in pixels; the weights' own if None.
        batch: Images in a run, or "dynamic". A dynamic batch leaves phone accelerators next to nothing to run.
        input: "image" is uint8 RGB (B, S, S, 3) in [0, 255], normalised in the graph; "tensor" is float32
            (B, 3, S, S), normalised by the caller.
        opset: ONNX operator set. 20 writes GELU as one node: a tenth fewer nodes of a ViT than 18, and onnxruntime's
            mobile checker finds the same number of partitions (CoreML ML program 1, NNAPI 38).

    Raises:
        LowzooError: A format, precision, batch, input or opset that cannot be had.
    """

    format: str = "onnx"
    precision: str = "fp32"
    size: int | None = None
    batch: int | Literal["dynamic"] = 1
    input: str = "image"
    opset: int = 20

    def __post_init__(self) -> None:
        if self.format in PLANNED_FORMATS:
            raise LowzooError(f"format {self.format!r} cannot be exported yet", f"Use {' or '.join(FORMATS)}")
        if self.format not in FORMATS:
            raise LowzooError(f"unknown format {self.format!r}", f"Use {' or '.join(FORMATS)}")
        if self.precision not in PRECISIONS[self.format]:
            raise LowzooError(
                f"{self.format} cannot be exported in precision {self.precision!r}",
                f"Use {' or '.join(PRECISIONS[self.format])}",
            )
        if self.input not in ("image", "tensor"):
            raise LowzooError(f"unknown input {self.input!r}", "Use image or tensor")
        if self.batch != "dynamic" and (not isinstance(self.batch, int) or not 1 <= self.batch <= 1024):
            raise LowzooError(f"a batch of {self.batch!r} is impossible", "Use a number from 1 to 1024, or dynamic")
        if self.opset not in OPSETS:
            raise LowzooError(f"opset {self.opset} cannot be written", f"Use {OPSETS[0]} to {OPSETS[-1]}")

    @property
    def input_name(self) -> str:
        """Name of the graph's input: "image" for pixels, "input" for a tensor."""
        return "image" if self.input == "image" else "input"
