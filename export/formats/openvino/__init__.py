"""OpenVINO, for Intel's CPUs, GPUs and NPUs, and for robots and desktops at large: a graph and its weights."""

from lowzoo.export.formats import Format

_THROUGH = dict.fromkeys(("fp32", "fp16", "int8"), "the ONNX graph that an OpenVINO file is made from")

FORMAT = Format(
    name="openvino",
    title="OpenVINO",
    suffix=".xml",
    parts=(".bin",),
    precisions=("fp32", "fp16", "int8"),
    writer="lowzoo.export.formats.openvino.writer:write_openvino",
    loader="lowzoo.export.formats.openvino.writer:open_openvino",
    noter="lowzoo.export.formats.openvino.writer:notes_of_openvino",
    extra="openvino",
    needs=("openvino",),
    calibrated=("int8",),
    dynamic_batch=True,
    whole=_THROUGH,
    reader="lowzoo.export.formats.openvino.writer:readiness_of_openvino",
    snippet="lowzoo.export.formats.openvino.snippet:openvino_snippet",
    system=lambda spec: "OpenVINO IR",
    next_steps=("check", "bench"),
)
