"""Read a Core ML package and run its program.

Every operator that the interpreter knows, by its name in MIL.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lowzoo.base.errors import reason_of
from lowzoo.base.quiet import quiet
from lowzoo.export.mil.compressed import COMPRESSED
from lowzoo.export.mil.elementwise import ELEMENTWISE
from lowzoo.export.mil.gathering import GATHERING
from lowzoo.export.mil.images import IMAGES
from lowzoo.export.mil.layers import LAYERS
from lowzoo.export.mil.reductions import REDUCTIONS
from lowzoo.export.mil.shapes import SHAPES
from lowzoo.export.mil.values import FLOAT16, FLOAT32, MilError, UnknownOperatorError, WeightsError, decode, torch_type

_DATA = Path("Data/com.apple.CoreML")
MODEL_FILE = _DATA / "model.mlmodel"
OPS: dict[str, Callable[..., Any]] = {
    **ELEMENTWISE,
    **LAYERS,
    **IMAGES,
    **SHAPES,
    **GATHERING,
    **REDUCTIONS,
    **COMPRESSED,
}


@dataclass(frozen=True)
class Program:
    """A program that is ready to run.

    Args:
        specification: The package's protobuf.
        constants: Values by name, decompressed.
        operations: What is computed, in order.
        outputs: Names of the results.
    """

    specification: Any
    constants: dict[str, Any]
    operations: list[Any]
    outputs: list[str]

    def run(self, **inputs: Tensor) -> dict[str, Any]:
        """Compute the outputs of the named inputs.

        Raises:
            MilError: An operator that is not known, or one that does not fit its inputs.
        """
        values = self.constants | inputs
        for operation in self.operations:
            _execute(operation, values, b"")
        return {name: values[name] for name in self.outputs}

    def histogram(self) -> dict[str, int]:
        """Number of operators by type, without constants."""
        types = [operation.type for operation in self.operations]
        return {name: types.count(name) for name in sorted(set(types))}


def load_program(path: Path) -> Program:
    """Read a `.mlpackage` folder.

    Raises:
        MilError: It is no package, is damaged, or holds something that this interpreter does not know.
    """
    specification, weights = read_specification(path)
    blobs = weights.read_bytes() if weights.is_file() else b""
    try:
        return _prepare(specification, _main(path, specification), blobs)
    except WeightsError as error:
        what = "is damaged or cut short" if weights.is_file() else "is missing"
        raise MilError(f"{weights.relative_to(path)} {what} ({error.message})", "Copy the whole folder") from error


def operators_of(path: Path) -> dict[str, int]:
    """Number of operators of a `.mlpackage` by type, without constants, whether they are known or not.

    Raises:
        MilError: It is no package, or is damaged.
    """
    types = [operation.type for operation in _main(path, read_specification(path)[0]).operations]
    return {
        name: types.count(name) for name in sorted(set(types)) if name != "const" and not name.startswith("constexpr_")
    }


def constants_of(specification: Any) -> list[tuple[tuple[int, ...], bool]]:
    """The shape of each constant of float16 or float32 in a program, and whether it is float32."""
    types = [
        operation.outputs[0].type.tensorType
        for function in specification.mlProgram.functions.values()
        for block in function.block_specializations.values()
        for operation in block.operations
        if operation.type == "const"
    ]
    return [
        (tuple(side.constant.size for side in each.dimensions), each.dataType == FLOAT32)
        for each in types
        if each.dataType in (FLOAT16, FLOAT32)
    ]


def _main(path: Path, specification: Any) -> Any:
    if specification.WhichOneof("Type") != "mlProgram" or "main" not in specification.mlProgram.functions:
        raise MilError(f"{path} is no ML program", "Export it as one")
    function = specification.mlProgram.functions["main"]
    return function.block_specializations[function.opset]


def read_specification(path: Path) -> tuple[Any, Path]:
    """Read what a `.mlpackage` folder holds beside its weights, and name the file of those.

    Raises:
        MilError: It is no package, or is damaged.
    """
    with quiet():
        from coremltools.proto import Model_pb2
    _require_manifest(path)
    try:
        content = (path / MODEL_FILE).read_bytes()
    except OSError as error:
        raise MilError(f"{path} is no ML program: it holds no {MODEL_FILE}", "Export it again") from error
    weights = path / _DATA / "weights" / "weight.bin"
    specification = Model_pb2.Model()
    try:
        specification.ParseFromString(content)
    except Exception as error:  # protobuf's DecodeError has moved between its versions
        raise MilError(f"{path} holds a damaged model", "Export it again") from error
    return specification, weights


def _require_manifest(path: Path) -> None:
    """Refuse a folder that Core ML does not open: without the list of its parts, or with a damaged one."""
    try:
        manifest = json.loads((path / "Manifest.json").read_bytes())
        parts, root = manifest["itemInfoEntries"], manifest["rootModelIdentifier"]
        names = [str(each["path"]) for each in (parts[root], *parts.values())]
    except FileNotFoundError as error:
        raise MilError(f"{path} is no Core ML package: it holds no Manifest.json", "Export it again") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MilError(f"the Manifest.json of {path} is damaged", "Export it again") from error
    if lost := [name for name in names if Path(name).is_absolute() or not (path / "Data" / name).exists()]:
        raise MilError(f"{path} lacks Data/{lost[0]}, which its Manifest.json names", "Copy the whole folder")


def _prepare(specification: Any, block: Any, blobs: bytes) -> Program:
    unknown = sorted({op.type for op in block.operations} - set(OPS) - {"const"})
    if unknown:
        raise UnknownOperatorError(
            f"the program uses operators that the interpreter does not know: {', '.join(unknown)}",
            "Check it with Core ML on a Mac",
        )
    constants: dict[str, Any] = {}
    operations = []
    for operation in block.operations:
        # Weights are decompressed once, and not in every run.
        if operation.type == "const" or operation.type.startswith("constexpr_"):
            _execute(operation, constants, blobs)
        else:
            operations.append(operation)
    return Program(specification, constants, operations, list(block.outputs))


def _execute(operation: Any, values: dict[str, Any], blobs: bytes) -> None:
    if operation.type == "const":
        values[operation.outputs[0].name] = decode(operation.attributes["val"], blobs)
        return
    arguments = {key: _argument(argument, values, blobs) for key, argument in operation.inputs.items()}
    # Compressed weights came as attributes before iOS 18.
    attributes = {key: decode(value, blobs) for key, value in operation.attributes.items() if key != "name"}
    try:
        results = OPS[operation.type](**{key: _widened(value) for key, value in (attributes | arguments).items()})
    except (TypeError, RuntimeError, ValueError, IndexError, KeyError) as error:
        reason = reason_of(error)
        raise MilError(f"operator {operation.type} does not fit its inputs ({reason})", "Export it again") from error
    for output, result in zip(operation.outputs, results if isinstance(results, tuple) else (results,), strict=True):
        is_tensor = output.type.WhichOneof("type") == "tensorType" and isinstance(result, Tensor)
        values[output.name] = result.to(torch_type(output.type.tensorType.dataType)) if is_tensor else result


def _argument(argument: Any, values: dict[str, Any], blobs: bytes) -> Any:
    found = [
        values[binding.name] if binding.WhichOneof("binding") == "name" else decode(binding.value, blobs)
        for binding in argument.arguments
    ]
    return found if len(found) > 1 else found[0]


def _widened(value: Any) -> Any:
    """float16 as float32: phones multiply in 16 bits but add in 32, so only what is stored is rounded."""
    if isinstance(value, list):
        return [_widened(part) for part in value]
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.float16 else value
