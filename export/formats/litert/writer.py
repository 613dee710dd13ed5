"""LiteRT: a `.tflite` file by litert-torch, and float16 and int8 by the AI Edge quantizer.

litert-torch 0.10 wants a torch below 2.15, so it is an extra for an environment of its own; running a file takes
ai-edge-litert alone. What the file was made from stands in a piece of its metadata named "lowzoo".
"""

import json
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.quiet import quiet
from lowzoo.export.artifacts.float32_left import Float32Left
from lowzoo.export.artifacts.metadata import metadata
from lowzoo.export.network.reasons import plain_reason
from lowzoo.export.network.trace import traced
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.export.parity.runnable import Array, Runnable
from lowzoo.export.quantization.calibrate import calibration_images
from lowzoo.export.quantization.int8 import first_that_holds, graph_input
from lowzoo.export.spec.bounds import ParityError
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.system.installed import require
from lowzoo.zoo.resolve import Resolved

_PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_NOTE = b"lowzoo"
_FLOAT_WEIGHTS = (*_PRODUCTS, "CONV_2D_TRANSPOSE", "EMBEDDING_LOOKUP")  # what it can keep in float16
_HALF_NOT_RUN = (
    "the weights are float16 and were computed with in float32, as LiteRT does on a CPU; a GPU or an NPU computes in "
    "float16 as well, which was not run here"
)


def write_litert(
    module: nn.Module, resolved: Resolved, spec: ExportSpec, path: Path, checker: ParityChecker
) -> tuple[str, ...]:
    """Convert the module and write the file; float16 is of weights alone, int8 the fastest way that keeps the bound.

    Args:
        module: What `exported_module` gave.
        resolved: The network it holds.
        spec: Shape, input and precision.
        path: To write to.
        checker: Measures what a candidate loses.

    Returns:
        Warnings, one sentence each.

    Raises:
        LowzooError: litert-torch is not there, does not fit this torch, or cannot convert the network.
        ParityError: No int8 file keeps the stated loss.
    """
    require("litert-torch", "litert")
    channels, height, width = resolved.input_size
    batch = spec.batch if isinstance(spec.batch, int) else 1
    shape = (batch, height, width, channels) if spec.pixels_last else (batch, channels, height, width)
    example = torch.zeros(shape, dtype=torch.uint8 if spec.input == "image" else torch.float32)
    try:
        with quiet(), torch.no_grad():
            import litert_torch

            litert_torch.convert(traced(module, example).module(), (example,)).export(str(path))
    except Exception as error:  # a pass of the conversion may raise anything
        reason = plain_reason(error)
        raise LowzooError(
            f"{resolved.name} cannot be exported by litert-torch {version('litert-torch')} and torch "
            f"{torch.__version__} ({reason})",
            "Name another format, or another model",
        ) from error
    warnings: tuple[str, ...] = ()
    if spec.precision == "fp16":
        _rewritten(path.read_bytes(), "float16 weights", [], path)
    elif spec.precision == "int8-dynamic":
        exact = path.read_bytes()
        _, warnings = first_that_holds({"dynamic": lambda: _quantised(exact, [], "dynamic", path)}, spec, checker)
    elif spec.precision == "int8":
        feeds = [
            graph_input(image, resolved, spec) for image in calibration_images(spec.calibration, resolved.input_size[0])
        ]
        exact = path.read_bytes()
        ways = {
            "static everywhere": lambda: _quantised(exact, feeds, "all", path),
            "static in products alone": lambda: _quantised(exact, feeds, "products", path),
            "dynamic": lambda: _quantised(exact, feeds, "dynamic", path),
        }
        _, warnings = first_that_holds(ways, spec, checker)
    said = metadata(resolved, spec)
    if spec.precision == "fp16":
        left = Float32Left.among((shape, kind == "float32") for shape, kind in _constants(path.read_bytes()))
        said |= {"lowzoo.not_run": _HALF_NOT_RUN} | left.note
        warnings = left.sentences("LiteRT has float16 for those of convolutions and fully connected layers alone")
    _note(path, said)
    return warnings


def open_litert(path: Path) -> Runnable:
    """Load a file in LiteRT's own interpreter.

    Raises:
        LowzooError: LiteRT is not there.
        ParityError: The file does not load, or takes something else than one picture.
    """
    if find_spec("ai_edge_litert") is None:
        raise LowzooError("ai-edge-litert is not installed", "Install lowzoo[litert]")
    try:
        with quiet():
            from ai_edge_litert.interpreter import Interpreter

            # The whole file, and not a map of it, because candidates of a search take each other's place on disk.
            interpreter = Interpreter(model_content=path.read_bytes(), num_threads=torch.get_num_threads())
            interpreter.allocate_tensors()
    except Exception as error:  # the runtime raises what its C++ throws
        reason = reason_of(error)
        raise ParityError(f"LiteRT cannot run the artifact ({reason})", "Export it again") from error
    taken, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    shape, dtype = tuple(int(side) for side in taken[0]["shape"]), np.dtype(taken[0]["dtype"])
    if len(taken) != 1 or len(shape) != 4 or dtype.name not in ("uint8", "float32"):
        raise ParityError(f"{path} does not take one picture, but {dtype} {list(shape)}", "Export it again")

    def run(rows: NDArray[Any]) -> tuple[Array, ...]:
        interpreter.set_tensor(taken[0]["index"], np.ascontiguousarray(rows))
        interpreter.invoke()
        return tuple(_floats(interpreter.get_tensor(given["index"]), *given["quantization"]) for given in outputs)

    said = _noted(path)
    return Runnable(
        path=path,
        format="litert",
        engine=f"LiteRT {version('ai-edge-litert')} (XNNPACK)",
        shape=(shape[0], shape[1], shape[2], shape[3]),
        dtype=dtype,
        pixels=bool(json.loads(said.get("lowzoo.preprocessing", "{}")).get("normalised_in_graph", dtype == np.uint8)),
        metadata=said,
        run=run,
        not_run=said.get("lowzoo.not_run", ""),
    )


def _floats(found: NDArray[Any], scale: float, zero: int) -> Array:
    # A file made elsewhere may give integers with a scale.
    features: Array = (found.astype(np.float32) - zero) * np.float32(scale) if scale else found
    return features


def notes_of_litert(path: Path) -> dict[str, str]:
    """What a file says of itself; nothing where LiteRT is not there to read it."""
    try:
        return _noted(path)
    except Exception:  # a file of another kind: flatbuffers raises what its unpacking throws
        return {}


def _quantised(exact: bytes, feeds: list[NDArray[np.generic]], way: str, path: Path) -> Runnable:
    _rewritten(exact, way, feeds, path)
    return open_litert(path)


def _rewritten(exact: bytes, way: str, feeds: list[NDArray[np.generic]], path: Path) -> None:
    """Have the quantizer write the file with other weights, and look that some are of the type wanted.

    Raises:
        ParityError: It fails, or there are none.
    """
    from ai_edge_quantizer import quantizer, recipe
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName

    try:
        # It prints its sizes, and warns of memory.
        with quiet():
            tool = quantizer.Quantizer(bytearray(exact))
            if way == "all":
                tool.load_quantization_recipe(recipe.static_wi8_ai8())
                # Features leave as float32, as from every other artifact.
                tool.update_quantization_recipe(
                    regex=".*", operation_name=TFLOperationName.OUTPUT, algorithm_key=AlgorithmName.NO_QUANTIZE
                )
            elif way == "products":
                for name in _PRODUCTS:
                    tool.add_static_config(".*", TFLOperationName(name), activation_num_bits=8, weight_num_bits=8)
            elif way == "dynamic":
                tool.load_quantization_recipe(recipe.dynamic_wi8_afp32())
            else:
                for name in _FLOAT_WEIGHTS:
                    operation = TFLOperationName(name)
                    tool.add_weight_only_config(".*", operation, num_bits=16, algorithm_key=AlgorithmName.FLOAT_CASTING)
            ranges = tool.calibrate(_by_signature(exact, feeds)) if tool.need_calibration else None
            content = tool.quantize(ranges).quantized_model
    except Exception as error:  # the tool has no error of its own
        reason = reason_of(error)
        raise ParityError(f"the quantizer fails ({reason})", "Use fp32") from error
    wanted = "int8" if feeds or way == "dynamic" else "float16"
    if not any(kind == wanted and np.prod(shape) > 1 for shape, kind in _constants(content, (wanted,))):
        raise ParityError(f"a file in which no weight is {wanted}", "Use fp32")
    path.write_bytes(content)


def _constants(
    content: bytes, kinds: tuple[str, ...] = ("float16", "float32")
) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield shape and type of each constant, and not of what is computed."""
    from ai_edge_litert import schema_py_generated as schema

    names = {getattr(schema.TensorType, kind.upper()): kind for kind in kinds}
    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    for tensor in map(graph.Tensors, range(graph.TensorsLength())):
        buffer = model.Buffers(tensor.Buffer())
        held = buffer.DataLength() or buffer.Size()  # a large one lies behind the flatbuffer
        if held and tensor.Type() in names and tensor.ShapeLength():
            yield tuple(int(side) for side in tensor.ShapeAsNumpy()), names[tensor.Type()]


def _by_signature(exact: bytes, feeds: list[NDArray[np.generic]]) -> dict[str, list[dict[str, NDArray[np.generic]]]]:
    from ai_edge_litert.interpreter import Interpreter

    ((key, signature),) = Interpreter(model_content=exact).get_signature_list().items()
    return {key: [{signature["inputs"][0]: feed} for feed in feeds]}


def _note(path: Path, said: dict[str, str]) -> None:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    content = schema.BufferT()
    content.data = np.frombuffer(json.dumps(said).encode(), np.uint8)
    model.buffers.append(content)
    entry = schema.MetadataT()
    entry.name, entry.buffer = _NOTE, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    flatbuffer_utils.write_model(model, str(path))


def _noted(path: Path) -> dict[str, str]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes())
    for i in range(model.MetadataLength()):
        if model.Metadata(i).Name() == _NOTE:
            said: dict[str, str] = json.loads(model.Buffers(model.Metadata(i).Buffer()).DataAsNumpy().tobytes())
            return said
    return {}
