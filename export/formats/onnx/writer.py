"""ONNX: torch's dynamo exporter, one file (two where the weights are too large for one), metadata inside."""

from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.base.quiet import quiet
from lowzoo.export.artifacts.float32_left import Float32Left
from lowzoo.export.artifacts.metadata import IR_OF_OPSET, input_facts, metadata, output_meanings, output_names
from lowzoo.export.formats.onnx.quantize import quantize_onnx
from lowzoo.export.network.reasons import plain_reason
from lowzoo.export.network.rewrites import global_pools
from lowzoo.export.network.trace import traced
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.export.spec.large import large_warning, needs_data_file
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.zoo.resolve import Resolved


def write_onnx(
    module: nn.Module, resolved: Resolved, spec: ExportSpec, path: Path, checker: ParityChecker
) -> tuple[str, ...]:
    """Trace the module and write the file; int8 is found by the checker's measure.

    Args:
        module: What `exported_module` gave.
        resolved: The network it holds.
        spec: Shape and opset.
        path: To write to.
        checker: Measures what a candidate loses.

    Returns:
        Warnings, one sentence each.

    Raises:
        ParityError: No int8 file keeps the stated loss.
        LowzooError: The network cannot be traced.
    """
    large = needs_data_file(module, spec)
    try:
        with quiet():
            program = _trace(module, resolved, spec)
            if large:
                program.save(path, external_data=True)
                del program
                model = onnx.load(path, load_external_data=False)
            else:
                model = program.model_proto
        if spec.target == "coreml-ep":
            global_pools(model)
        left = float32_left(model)
        _describe(model, resolved, spec, left)
        # The exporter claims the newest file version; the operators need no more than this one.
        model.ir_version = IR_OF_OPSET[spec.opset]
        if not large:
            onnx.checker.check_model(model)
        content = model.SerializeToString()
        path.write_bytes(content)
        if large:
            onnx.checker.check_model(str(path))
    except Exception as error:  # every stage of the exporter has a family of errors of its own
        raise _refusal(error, resolved, spec) from error
    kept = left.sentences() if spec.precision == "fp16" else ()
    if large:
        return (large_warning(module, spec, path), *kept)
    return quantize_onnx(path, resolved, spec, checker) if spec.precision == "int8" else kept


def write_graph(module: nn.Module, resolved: Resolved, spec: ExportSpec, path: Path) -> None:
    """Write the plain graph that the tool of another format starts from.

    Args:
        module: What `exported_module` gave.
        resolved: The network it holds.
        spec: Of the other format.
        path: To write to.

    Raises:
        LowzooError: The network cannot be traced.
    """
    try:
        with quiet():
            model = _trace(module, resolved, spec).model_proto
        model.ir_version = IR_OF_OPSET[spec.opset]
        path.write_bytes(model.SerializeToString())
    except Exception as error:  # every stage of the exporter has a family of errors of its own
        raise _refusal(error, resolved, spec) from error


def _refusal(error: Exception, resolved: Resolved, spec: ExportSpec) -> LowzooError:
    return LowzooError(
        f"{resolved.name} cannot be exported to {spec.kind.title} ({plain_reason(error)})",
        ("Name another model or format" if spec.batch == 1 else "Try --batch 1, or another model")
        + "; --debug shows all",
    )


def _trace(module: nn.Module, resolved: Resolved, spec: ExportSpec) -> torch.onnx.ONNXProgram:
    # A traced dimension of 1 would be taken as fixed, so a dynamic batch is traced with 2.
    batch = 2 if spec.batch == "dynamic" else spec.batch
    channels, height, width = resolved.input_size
    shape = (batch, height, width, channels) if spec.pixels_last else (batch, channels, height, width)
    bytes_in = spec.input == "image" and spec.kind.image_is_bytes
    example = torch.zeros(shape, dtype=torch.uint8 if bytes_in else torch.float32)
    dynamic = ({0: torch.export.Dim("batch", min=1)},) if spec.batch == "dynamic" else None

    def write(what: nn.Module | torch.export.ExportedProgram) -> torch.onnx.ONNXProgram:
        program = torch.onnx.export(
            what,
            (example,),
            dynamo=True,
            external_data=False,
            opset_version=spec.opset,
            input_names=[spec.input_name],
            output_names=output_names(resolved, spec),
            dynamic_shapes=None if isinstance(what, torch.export.ExportedProgram) else dynamic,
            verbose=False,
        )
        if program is None:
            raise RuntimeError("the exporter returned nothing")
        return program

    try:
        return write(traced(module, example, dynamic))
    except Exception:  # of a module, the exporter knows several ways to trace it; of a program, the one that it is
        return write(module)


def float32_left(model: onnx.ModelProto) -> Float32Left:
    """What a graph holds in float32 of its weights, which may lie in a file of their own."""
    held = [node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"]
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    return Float32Left.among(
        (tuple(each.dims), each.data_type == onnx.TensorProto.FLOAT)
        for each in (*model.graph.initializer, *held)
        if each.data_type in floats
    )


def _describe(model: onnx.ModelProto, resolved: Resolved, spec: ExportSpec, left: Float32Left) -> None:
    """Replace the exporter's notes by ours."""
    # It notes a stack trace beside every node: 3 % of the file, and the folders of whoever exported it.
    graph: Any = model.graph
    for part in (*graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output, graph, model):
        del part.metadata_props[:]
    graph.name = resolved.name
    graph.input[0].doc_string = input_facts(spec, resolved)["values"]
    for output, meaning in zip(graph.output, output_meanings(resolved, spec).values(), strict=True):
        output.doc_string = meaning
    onnx.helper.set_model_props(model, metadata(resolved, spec) | (left.note if spec.precision == "fp16" else {}))
