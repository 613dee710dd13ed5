"""OpenVINO IR: a graph (`.xml`) and its weights (`.bin`), by way of an ONNX graph.

OpenVINO reads ONNX's pairs of quantisation as its own, so int8 is the ONNX file that the search of
`lowzoo.export.formats.onnx.quantize` found, and its loss is measured once more in OpenVINO, whose own quantiser is
another package. What a file was made from stands in the section of the graph that is meant for it, `rt_info`.
"""

import json
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.native import native_quiet
from lowzoo.base.quiet import quiet
from lowzoo.export.artifacts.float32_left import Float32Left
from lowzoo.export.artifacts.metadata import metadata
from lowzoo.export.artifacts.parts import note_of_parts, require_parts
from lowzoo.export.artifacts.places import size_of
from lowzoo.export.formats.onnx.quantize import quantize_onnx
from lowzoo.export.formats.onnx.writer import write_graph
from lowzoo.export.network.reasons import plain_reason
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.export.parity.runnable import Array, Runnable
from lowzoo.export.readiness import Readiness, advice_of
from lowzoo.export.spec.bounds import ParityError
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.system.installed import require
from lowzoo.zoo.resolve import Resolved

_SECTION = "lowzoo"
_TYPES = {"u8": np.uint8, "f32": np.float32}
# On a CPU with bfloat16 OpenVINO computes in that unless it is told not to.
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
_HALF_NOT_RUN = (
    "the weights are float16 and were computed with in float32, as OpenVINO does on a CPU; a GPU or an NPU computes in "
    "float16 as well, which was not run here"
)
# What is no computation.
_STORED = ("Const", "Parameter", "Result")


def write_openvino(
    module: nn.Module, resolved: Resolved, spec: ExportSpec, path: Path, checker: ParityChecker
) -> tuple[str, ...]:
    """Convert the module and write both files.

    Args:
        module: What `exported_module` gave.
        resolved: The network it holds.
        spec: Shape, input and precision.
        path: To write the graph to; the weights go beside it.
        checker: Measures what a candidate for int8 loses.

    Returns:
        Warnings, one sentence each.

    Raises:
        LowzooError: OpenVINO is not there, or cannot convert the network.
        ParityError: No int8 file keeps the stated loss.
    """
    require("openvino", "openvino")
    warnings: tuple[str, ...] = ()
    with tempfile.TemporaryDirectory(prefix="lowzoo-openvino-") as folder:
        graph = Path(folder) / "graph.onnx"
        write_graph(module, resolved, spec, graph)
        if spec.precision == "int8":
            warnings = quantize_onnx(graph, resolved, spec, checker, timed=False)
        try:
            with quiet(), native_quiet():
                import openvino

                model = openvino.convert_model(str(graph))
                said = metadata(resolved, spec)
                if spec.precision == "fp16":
                    said["lowzoo.not_run"] = _HALF_NOT_RUN
                _describe(model, said)
                openvino.save_model(model, str(path), compress_to_fp16=spec.precision == "fp16")
                # The hash of the weights, which are the same when they are written again, stands in the graph.
                _describe(model, note_of_parts(path, (".bin",)))
                if spec.precision == "fp16":
                    left = _float32_left(path)
                    _describe(model, left.note)
                    warnings = left.sentences("OpenVINO keeps what float16 would lose too much of")
                openvino.save_model(model, str(path), compress_to_fp16=spec.precision == "fp16")
        except Exception as error:  # the converter raises what its C++ throws
            raise LowzooError(
                f"{resolved.name} cannot be exported by openvino {version('openvino')} ({plain_reason(error)})",
                "Name another format, or another model",
            ) from error
    return warnings


def open_openvino(path: Path) -> Runnable:
    """Load a graph and its weights on this computer's CPU.

    Raises:
        LowzooError: OpenVINO is not there.
        ParityError: The files do not load, do not belong together, or take something else than one picture.
    """
    require("openvino", "openvino")
    notes = notes_of_openvino(path)
    require_parts(path, (".bin",), notes)
    try:
        with quiet(), native_quiet():
            import openvino

            settings = EXACT | {"INFERENCE_NUM_THREADS": torch.get_num_threads()}
            compiled = openvino.Core().compile_model(str(path), "CPU", settings)
            taken, count = compiled.inputs[0], len(compiled.inputs)
            sides = [side.get_length() if side.is_static else 0 for side in taken.partial_shape]
            kind = taken.element_type.to_string()
            request = compiled.create_infer_request()
    except Exception as error:  # the runtime raises what its C++ throws
        reason = reason_of(error) if _is_graph(path) else "it is damaged, or no graph of OpenVINO"
        raise ParityError(f"OpenVINO cannot run the artifact ({reason})", "Export it again") from error
    dtype = _TYPES.get(kind) or _TYPES.get({"uint8_t": "u8", "float": "f32"}.get(kind, ""))
    if count != 1 or len(sides) != 4 or dtype is None or not all(sides[1:]):
        raise ParityError(f"{path} does not take one picture of a fixed size, but {kind} {sides}", "Export it again")

    def run(rows: NDArray[Any]) -> tuple[Array, ...]:
        found = request.infer({0: np.ascontiguousarray(rows)})
        return tuple(np.array(each, np.float32) for each in found.values())

    return Runnable(
        path=path,
        format="openvino",
        engine=f"OpenVINO {version('openvino')} (CPU)",
        shape=(sides[0], sides[1], sides[2], sides[3]),
        dtype=np.dtype(dtype),
        pixels=bool(json.loads(notes.get("lowzoo.preprocessing", "{}")).get("normalised_in_graph", dtype is np.uint8)),
        metadata=notes,
        run=run,
        not_run=notes.get("lowzoo.not_run", ""),
    )


def _is_graph(path: Path) -> bool:
    try:
        return ElementTree.parse(path).getroot().tag == "net"
    except (ElementTree.ParseError, OSError, ValueError):
        return False


def notes_of_openvino(path: Path) -> dict[str, str]:
    """What a graph says of itself; OpenVINO is not needed to read it."""
    try:
        section = ElementTree.parse(path).find(f"rt_info/{_SECTION}")
    except (ElementTree.ParseError, OSError, ValueError):
        return {}
    return {f"lowzoo.{each.tag}": each.get("value", "") for each in section} if section is not None else {}


def readiness_of_openvino(path: Path, artifact: Runnable) -> Readiness:
    """Operators of the graph by number; what takes them on a GPU or an NPU is known where that is."""
    kinds = [layer.get("type", "") for layer in ElementTree.parse(path).iterfind("layers/layer")]
    operators = dict(Counter(kind for kind in kinds if kind not in _STORED).most_common())
    return Readiness(size_of(path), operators, (), advice_of(artifact))


def _float32_left(path: Path) -> Float32Left:
    data = (each.attrib for each in ElementTree.parse(path).iterfind("layers/layer/data"))
    return Float32Left.among(
        ([int(side) for side in each.get("shape", "").split(",") if side.strip()], each["element_type"] == "f32")
        for each in data
        if "offset" in each and each.get("element_type") in ("f32", "f16")
    )


def _describe(model: Any, said: dict[str, str]) -> None:
    for key, value in said.items():
        model.set_rt_info(value, [_SECTION, key.removeprefix("lowzoo.")])
