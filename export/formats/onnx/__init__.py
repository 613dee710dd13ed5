"""ONNX, for onnxruntime on a computer, a phone and in a browser."""

from typing import TYPE_CHECKING

from lowzoo.export.formats import Format

if TYPE_CHECKING:
    from lowzoo.export.spec.spec import ExportSpec

# The oldest onnxruntime on which files of an operator set were run: in float32, and in float16 or int8. Loading is not
# enough: 1.16 lacks the layer norm of float16 files, 1.19 the int8 matmuls of operator set 21.
ONNXRUNTIME_OF_OPSET = {18: ("1.15", "1.17"), 19: ("1.16", "1.17"), 20: ("1.17", "1.17"), 21: ("1.18", "1.20")}


def _remarks(spec: "ExportSpec") -> dict[str, str]:
    return {"lowzoo.min_onnxruntime": ONNXRUNTIME_OF_OPSET[spec.opset][spec.precision != "fp32"]}


FORMAT = Format(
    name="onnx",
    title="ONNX",
    suffix=".onnx",
    precisions=("fp32", "fp16", "int8"),
    writer="lowzoo.export.formats.onnx.writer:write_onnx",
    loader="lowzoo.export.formats.onnx.runtime:open_onnx",
    noter="lowzoo.export.formats.onnx.runtime:notes_of_onnx",
    calibrated=("int8",),
    dynamic_batch=True,
    whole={"int8": "what onnxruntime's int8 tools take"},
    inside="lowzoo.export.network.graph:half_where_wanted",
    remarks=_remarks,
    reader="lowzoo.export.readiness:onnx_readiness",
    snippet="lowzoo.export.artifacts.feeding:onnx_snippet",
    system=lambda spec: f"opset {spec.opset}",
    next_steps=("check", "bench"),
)
