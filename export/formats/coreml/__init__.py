"""Core ML, for iPhones and Macs: a package, which is a folder."""

from typing import TYPE_CHECKING

from lowzoo.base.errors import LowzooError
from lowzoo.export.formats import Format

if TYPE_CHECKING:
    from lowzoo.export.spec.spec import ExportSpec


def _rule(spec: "ExportSpec") -> None:
    if spec.input == "image" and spec.batch != 1:
        raise LowzooError("a Core ML image is one image", "Use --batch 1, or --input tensor")


FORMAT = Format(
    name="coreml",
    title="Core ML",
    suffix=".mlpackage",
    precisions=("fp32", "fp16", "int8", "palette6", "palette4"),
    writer="lowzoo.export.formats.coreml.writer:write_coreml",
    loader="lowzoo.export.formats.coreml.writer:open_coreml",
    noter="lowzoo.export.formats.coreml.writer:notes_of_coreml",
    folder=True,
    extra="coreml",
    needs=("coremltools",),
    image_is_bytes=False,
    gives_probabilities=True,
    rule=_rule,
    marker="lowzoo.export.formats.coreml.writer:unchecked_coreml",
    reader="lowzoo.export.readiness:coreml_readiness",
    snippet="lowzoo.export.artifacts.feeding:coreml_snippet",
    system=lambda spec: f"{spec.deployment_target} or later",
)
