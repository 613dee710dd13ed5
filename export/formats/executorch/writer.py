"""ExecuTorch: a `.pte` program for XNNPACK, torch's own way to a phone's CPU, or for Core ML.

int8 is torch's own post-training quantisation (PT2E) with XNNPACK's quantizer; of Core ML's see
`lowzoo.export.formats.executorch.coreml`. What the file was made from is the text that its second method, `lowzoo`,
gives.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.quiet import quiet
from lowzoo.export.artifacts.float32_left import Float32Left
from lowzoo.export.artifacts.metadata import metadata
from lowzoo.export.formats.coreml.writer import CORE_ML_KEEPS
from lowzoo.export.formats.executorch.coreml import (
    NOT_RUN,
    NOTES,
    hands_to_core_ml,
    lower_to_core_ml,
    open_core_ml_program,
    package_of,
    runs_here,
)
from lowzoo.export.formats.executorch.halves import TRANSPOSED_KEPT, halves_stay, weights_of
from lowzoo.export.mil import constants_of
from lowzoo.export.network.reasons import in_plain_words, plain_reason
from lowzoo.export.network.trace import traced
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.export.parity.runnable import Array, Runnable
from lowzoo.export.quantization.calibrate import calibration_images
from lowzoo.export.quantization.int8 import before_products, first_that_holds, graph_input
from lowzoo.export.spec.bounds import ParityError
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.system.installed import require
from lowzoo.zoo.resolve import Resolved

_TYPES = {0: np.uint8, 6: np.float32}  # ScalarType numbers
_PRODUCTS = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)


def write_executorch(
    module: nn.Module, resolved: Resolved, spec: ExportSpec, path: Path, checker: ParityChecker
) -> tuple[str, ...]:
    """Lower the module to XNNPACK or Core ML and write the program; int8 is the fastest way that keeps the bound.

    Args:
        module: What `exported_module` gave.
        resolved: The network it holds.
        spec: Shape, input and precision.
        path: To write to.
        checker: Measures what a candidate loses.

    Returns:
        Warnings, one sentence each.

    Raises:
        LowzooError: ExecuTorch is not there, does not fit this torch, or cannot lower the network.
        ParityError: No int8 program keeps the stated loss.
    """
    require("executorch", "executorch")
    channels, height, width = resolved.input_size
    batch = spec.batch if isinstance(spec.batch, int) else 1
    shape = (batch, height, width, channels) if spec.pixels_last else (batch, channels, height, width)
    example = torch.zeros(shape, dtype=torch.uint8 if spec.input == "image" else torch.float32)
    said = metadata(resolved, spec)
    try:
        if spec.core_ml_delegate:
            said |= {"lowzoo.delegate": "coreml", "lowzoo.deployment_target": spec.deployment_target}
            said |= {} if runs_here() else {"lowzoo.not_run": NOT_RUN}
            if spec.precision != "fp16":
                path.write_bytes(lower_to_core_ml(module, example, {NOTES: json.dumps(said)}, spec))
                return ()

            def write_core_ml(notes: str) -> Float32Left:
                path.write_bytes(lower_to_core_ml(module, example, {NOTES: notes}, spec))
                return Float32Left.among(constants_of(package_of(path).specification))

            return _said_in_file(said, weights_of(module), write_core_ml).sentences(CORE_ML_KEEPS)
        if spec.precision == "fp16":
            weights = weights_of(module)

            def write_halves(notes: str) -> Float32Left:
                with halves_stay() as kept:
                    path.write_bytes(_lowered(module, example, notes))
                return replace(weights, kept=weights.kept + sum(kept.values()))

            return _said_in_file(said, weights, write_halves).sentences(TRANSPOSED_KEPT)
        notes = json.dumps(said)
        if spec.precision.startswith("int8"):
            with quiet():  # what does not fit this torch fails here, and not once for every way
                import_module("executorch.backends.xnnpack.quantizer.xnnpack_quantizer")
            feeds = [example]  # of ranges that every run finds anew, only the weights' are taken here
            if spec.precision != "int8-dynamic":
                images = calibration_images(spec.calibration, resolved.input_size[0])
                feeds = [torch.from_numpy(graph_input(image, resolved, spec)) for image in images]

            def write(way: str) -> Runnable:
                try:
                    path.write_bytes(_lowered(_quantised(module, example, feeds, way), example, notes))
                except LowzooError:
                    raise
                except Exception as error:  # a pass may raise anything, and another way may do
                    raise ParityError(f"what XNNPACK cannot lower ({plain_reason(error)})", "Use fp32") from error
                return open_executorch(path)

            ways = {
                "static everywhere": lambda: write("all"),
                "static in products alone": lambda: write("products"),
                "dynamic": lambda: write("dynamic"),
            }
            if spec.precision == "int8-dynamic":
                ways = {"dynamic": ways["dynamic"]}
            return first_that_holds(ways, spec, checker)[1]
        path.write_bytes(_lowered(module, example, notes))
    except LowzooError:
        raise
    except Exception as error:  # a pass of the lowering may raise anything, as may the import beside another torch
        reason = plain_reason(error)
        raise LowzooError(
            f"{resolved.name} cannot be exported by executorch {version('executorch')} and torch {torch.__version__} "
            f"({reason})",
            "Name another format"
            if reason == in_plain_words(str(error))
            else "Install the executorch of your torch, or name another format",
        ) from error
    return ()


def open_executorch(path: Path) -> Runnable:
    """Load a program in ExecuTorch's own runtime.

    Raises:
        LowzooError: ExecuTorch is not there.
        ParityError: The program does not load, or takes something else than one picture.
    """
    require("executorch", "executorch")
    core_ml = hands_to_core_ml(path)
    if core_ml and not runs_here():
        return open_core_ml_program(path)
    try:
        with quiet():
            from executorch.runtime import Runtime

            program = Runtime.get().load_program(str(path))
            method = program.load_method("forward")
            (taken,) = (method.metadata.input_tensor_meta(i) for i in range(method.metadata.num_inputs()))
            shape, dtype = tuple(taken.sizes()), np.dtype(_TYPES[taken.dtype()])
            said = _said(program)
    except Exception as error:  # the runtime raises what its C++ throws
        reason = reason_of(error)
        raise ParityError(f"executorch cannot run the artifact ({reason})", "Export it again") from error
    if len(shape) != 4:
        raise ParityError(f"{path} does not take one picture, but {list(shape)}", "Export it again")

    def run(rows: NDArray[Any]) -> tuple[Array, ...]:
        return tuple(each.numpy().copy() for each in method.execute([torch.from_numpy(np.ascontiguousarray(rows))]))

    return Runnable(
        path=path,
        format="executorch",
        engine=f"executorch {version('executorch')} ({'Core ML' if core_ml else 'XNNPACK'})",
        shape=(shape[0], shape[1], shape[2], shape[3]),
        dtype=dtype,
        pixels=dtype == np.uint8,
        metadata=said,
        run=run,
    )


def notes_of_executorch(path: Path) -> dict[str, str]:
    """What a program says of itself; nothing where ExecuTorch is not there to read it."""
    try:
        with quiet():
            from executorch.runtime import Runtime

            return _said(Runtime.get().load_program(str(path)))
    except Exception:  # the runtime raises what its C++ throws
        return {}


def _said(program: Any) -> dict[str, str]:
    if NOTES not in program.method_names:
        return {}
    said: dict[str, str] = json.loads(program.load_method(NOTES).execute([])[0])
    return said


def _said_in_file(said: dict[str, str], weights: Float32Left, write: Callable[[str], Float32Left]) -> Float32Left:
    """Write a program that says how many of its weights are float32, which is known when it has been written."""
    hoped = replace(weights, kept=0)
    left = write(json.dumps(said | hoped.note))
    return write(json.dumps(said | left.note)) if left != hoped else left


def _lowered(module: nn.Module, example: Tensor, notes: str) -> bytes:
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        program = traced(module, example)
        lowered = to_edge_transform_and_lower(
            program, partitioner=[XnnpackPartitioner()], constant_methods={NOTES: notes}
        )
        content: bytes = lowered.to_executorch().buffer
    return content


def _quantised(module: nn.Module, example: Tensor, feeds: list[Tensor], way: str) -> nn.Module:
    with quiet():
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        quantizer = XNNPACKQuantizer()
        settings = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=way == "dynamic")
        if way == "products":
            for operator in _PRODUCTS:
                quantizer.set_operator_type(operator, settings)
        elif way == "dynamic":
            # XNNPACK finds ranges in every run for these alone; a convolution so marked fails to lower.
            quantizer.set_operator_type(torch.ops.aten.linear.default, settings)
        else:
            quantizer.set_global(settings)
        graph = traced(module, example).module()
        calls = [node for node in graph.graph.nodes if node.op == "call_function"]
        normalisation = before_products(
            (node.name, node.target in _PRODUCTS, (read.name for read in node.all_input_nodes), (node.name,))
            for node in calls
        )
        quantizer.set_filter_function(lambda node: node.name not in normalisation)
        observed = prepare_pt2e(graph, quantizer)
        with torch.inference_mode():
            for feed in feeds:
                observed(feed)
        quantised: nn.Module = convert_pt2e(observed)
    if not any("dequantize_per_channel" in str(node.target) for node in quantised.graph.nodes):  # type: ignore[union-attr]
        alone = " (XNNPACK's dynamic int8 is of fully connected layers alone)" if way == "dynamic" else ""
        raise ParityError(f"a file in which no weight is int8{alone}", "Use fp32")
    return quantised
