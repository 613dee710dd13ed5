"""ncnn, for Android and iPhone apps in C++: a graph in text and its weights, by pnnx.

The packages hold no tool for int8: ncnn's own (`ncnn2table`, `ncnn2int8`) are programs that one builds.
"""

from typing import TYPE_CHECKING

from lowzoo.base.errors import LowzooError
from lowzoo.export.formats import Format

if TYPE_CHECKING:
    from lowzoo.export.spec.spec import ExportSpec


def _rule(spec: "ExportSpec") -> None:
    if spec.batch != 1:
        raise LowzooError("ncnn has no batch: a run takes one picture", "Use --batch 1")
    if spec.target in ("nnapi", "coreml-ep"):
        # pnnx gives wrong numbers for a transformer that is written out for them.
        raise LowzooError(f"--for {spec.target} is of onnxruntime's files; ncnn runs by itself", "Leave out --for")


FORMAT = Format(
    name="ncnn",
    title="ncnn",
    suffix=".param",
    parts=(".bin",),
    ending=".ncnn.param",
    precisions=("fp32", "fp16"),
    writer="lowzoo.export.formats.ncnn.writer:write_ncnn",
    loader="lowzoo.export.formats.ncnn.writer:open_ncnn",
    noter="lowzoo.export.formats.ncnn.graph:notes_of_ncnn",
    extra="ncnn",
    needs=("pnnx", "ncnn"),
    # Pixels are float32 planes of 0 to 255, as ncnn makes them of any picture.
    image_is_bytes=False,
    whole=dict.fromkeys(("fp32", "fp16"), "the ONNX graph that an ncnn file is made from"),
    rule=_rule,
    inside="lowzoo.export.network.rewrites:attention_of_four_dimensions",
    reader="lowzoo.export.formats.ncnn.writer:readiness_of_ncnn",
    snippet="lowzoo.export.formats.ncnn.snippet:ncnn_snippet",
    system=lambda spec: "ncnn",
    next_steps=("check", "bench"),
)
