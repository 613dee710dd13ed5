"""MNN, for Android and iPhone apps: one file."""

from lowzoo.export.formats import Format
from lowzoo.export.spec.bounds import Bounds

_PRECISIONS = ("fp32", "fp16", "int8-dynamic")

FORMAT = Format(
    name="mnn",
    title="MNN",
    suffix=".mnn",
    precisions=_PRECISIONS,
    writer="lowzoo.export.formats.mnn.writer:write_mnn",
    loader="lowzoo.export.formats.mnn.writer:open_mnn",
    noter="lowzoo.export.formats.mnn.writer:notes_of_mnn",
    extra="mnn",
    needs=("MNN",),
    # It computes exp and erf, of every softmax and GELU, by short series: a ViT-Tiny is off by 1.05e-4.
    bounds={"fp32": Bounds(relative_error=5e-4, min_cosine=0.9999, knn_agreement=1.0)},
    whole=dict.fromkeys(_PRECISIONS, "the ONNX graph that an MNN file is made from"),
    snippet="lowzoo.export.formats.mnn.snippet:mnn_snippet",
    system=lambda spec: "MNN",
    next_steps=("check", "bench"),
)
