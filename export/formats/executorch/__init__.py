"""ExecuTorch, for apps that carry PyTorch's own runtime: by XNNPACK, or handed to Core ML."""

from typing import TYPE_CHECKING

from lowzoo.base.errors import LowzooError
from lowzoo.export.formats import Format

if TYPE_CHECKING:
    from lowzoo.export.spec.spec import ExportSpec


def _rule(spec: "ExportSpec") -> None:
    if spec.core_ml_delegate and spec.precision == "int8-dynamic":
        raise LowzooError(
            "Core ML has no int8-dynamic", "Use --precision int8, which is of weights alone there, or fp16"
        )


def _system(spec: "ExportSpec") -> str:
    return f"Core ML delegate, {spec.deployment_target} or later" if spec.core_ml_delegate else "XNNPACK"


FORMAT = Format(
    name="executorch",
    title="ExecuTorch",
    suffix=".pte",
    precisions=("fp32", "fp16", "int8", "int8-dynamic"),
    writer="lowzoo.export.formats.executorch.writer:write_executorch",
    loader="lowzoo.export.formats.executorch.writer:open_executorch",
    noter="lowzoo.export.formats.executorch.writer:notes_of_executorch",
    extra="executorch",
    needs=("executorch",),
    calibrated=("int8",),
    targets={
        "coreml": "Use --format executorch, --format coreml for an app without ExecuTorch, or --for coreml-ep for "
        "onnxruntime"
    },
    rule=_rule,
    inside="lowzoo.export.network.graph:half_for_xnnpack",
    outside="lowzoo.export.network.graph:bytes_outside_of_core_ml",
    reader="lowzoo.export.formats.executorch.coreml:readiness_of_executorch",
    snippet="lowzoo.export.artifacts.feeding:executorch_snippet",
    system=_system,
)
