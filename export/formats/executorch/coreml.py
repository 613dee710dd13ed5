"""ExecuTorch programs that hand the network to Core ML: a whole Core ML package inside a `.pte` file.

Core ML computes on an iPhone's GPU and neural engine, where XNNPACK has the CPU alone. The package is made by
coremltools on any system, but only Apple's run it: elsewhere the program's frame is read (a picture of bytes goes to
float32, then Core ML takes it), its package is taken out, and lowzoo's interpreter computes that.
"""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.quiet import quiet
from lowzoo.base.scratch import scratch
from lowzoo.export.artifacts.places import size_of
from lowzoo.export.formats.coreml.writer import tidy
from lowzoo.export.mil import MODEL_FILE, Program, load_program, read_specification
from lowzoo.export.parity.runnable import Array, Runnable
from lowzoo.export.readiness import Readiness, advice_of
from lowzoo.export.spec.bounds import ParityError
from lowzoo.export.spec.spec import ExportSpec

BACKEND = "CoreMLBackend"
NOTES = "lowzoo"  # name of the method that gives a program's metadata
NOT_RUN = (
    "this system has no Core ML: lowzoo's own interpreter computed what is handed to it, in float32 and rounded as the "
    "program says; neither Core ML nor ExecuTorch has run the file: check it again on a Mac or try it on an iPhone"
)
# As in packages of their own, see `lowzoo.export.formats.coreml.writer`.
_LEAST_COMPRESSED = 2048
_LEFT_OUT_PASS = "common::fuse_elementwise_to_batchnorm"
_CASTS = ("_to_dim_order_copy", "_to_copy")
_NUMPY = {0: np.uint8, 6: np.float32}  # ScalarType numbers


def lower_to_core_ml(module: nn.Module, example: Tensor, notes: dict[str, Any], spec: ExportSpec) -> bytes:
    """Make the program.

    Args:
        module: What `exported_module` gave.
        example: An input.
        notes: Methods that give a constant.
        spec: Precision and deployment target.

    Raises:
        LowzooError: Core ML has not all operators, so that the network would fall into pieces.
    """
    with quiet(), scratch():
        import coremltools
        from executorch.backends.apple.coreml.compiler import CoreMLBackend
        from executorch.backends.apple.coreml.partition import CoreMLPartitioner
        from executorch.exir import to_edge_transform_and_lower

        class FloatsAlone(CoreMLPartitioner):  # type: ignore[misc]
            """Leaves out what reads bytes, which Core ML's tensors cannot hold."""

            def partition(self, exported_program: Any) -> Any:
                found = super().partition(exported_program)
                for node in exported_program.graph.nodes:
                    values = [read.meta.get("val") for read in node.all_input_nodes]
                    if any(isinstance(value, Tensor) and value.dtype == torch.uint8 for value in values):
                        node.meta.pop("delegation_tag", None)
                return found

        half = spec.precision == "fp16"
        int8 = {"mode": "linear_symmetric", "weight_threshold": _LEAST_COMPRESSED}
        specs = CoreMLBackend.generate_compile_specs(
            minimum_deployment_target=getattr(coremltools.target, spec.deployment_target),
            compute_precision=coremltools.precision.FLOAT16 if half else coremltools.precision.FLOAT32,
            op_linear_quantizer_config=int8 if spec.precision == "int8" else None,
            pass_names=[name for name in coremltools.PassPipeline.DEFAULT.passes if name != _LEFT_OUT_PASS],
        )
        program = torch.export.export(module, (example,))
        pack = CoreMLBackend.preprocess_model

        def repacked(*given: Any, **named: Any) -> Any:
            return _reproducible(pack(*given, **named))

        with mock.patch.object(CoreMLBackend, "preprocess_model", staticmethod(repacked)):
            lowered = to_edge_transform_and_lower(
                program, partitioner=[FloatsAlone(compile_specs=specs)], constant_methods=notes
            )
        calls = [node for node in lowered.exported_program().graph.nodes if node.op == "call_function"]
        parts = sum("call_delegate" in str(node.target) for node in calls)
        names = (getattr(node.target, "__name__", "") for node in calls if hasattr(node.target, "_schema"))
        outside = sorted({name for name in names if not any(cast in name for cast in _CASTS)})
        content: bytes = lowered.to_executorch().buffer
    if parts != 1:
        what = f" ({', '.join(outside)} stay outside)" if outside else ""
        raise LowzooError(
            f"Core ML would take the network in {parts} pieces{what}, and each hand-over costs what it saves",
            "Leave out --for coreml, which uses XNNPACK, or use --format coreml",
        )
    return content


def _reproducible(result: Any) -> Any:
    """The same package with the same bytes each time: ExecuTorch calls it by a random name, coremltools its parts too.

    The name has to tell packages apart, as a phone keeps what it compiled under it: it becomes a digest of the package.
    """
    from executorch.backends.apple.coreml import executorchcoreml

    with tempfile.TemporaryDirectory(prefix="lowzoo-coreml-") as folder:
        executorchcoreml.unflatten_directory_contents(result.processed_bytes, folder)
        (manifest,) = Path(folder).rglob("Manifest.json")
        specification, _ = read_specification(manifest.parent)
        (manifest.parent / MODEL_FILE).write_bytes(specification.SerializeToString(deterministic=True))
        tidy(manifest.parent)
        root = manifest.parent.parent  # its name goes into the program too
        facts = root / "metadata.json"
        said = json.loads(facts.read_text(encoding="utf-8"))
        digest = hashlib.sha256()
        for file in sorted(manifest.parent.rglob("*")):
            if file.is_file():
                digest.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
        facts.write_text(json.dumps(said | {"identifier": f"executorch_{digest.hexdigest()[:32]}"}), encoding="utf-8")
        result.processed_bytes = executorchcoreml.flatten_directory_contents(str(root))
    return result


def hands_to_core_ml(path: Path) -> bool:
    """Whether a `.pte` file leaves computing to Core ML; it need not be whole, nor ExecuTorch installed."""
    return path.is_file() and BACKEND.encode() in path.read_bytes()


def runs_here() -> bool:
    """Whether this system's ExecuTorch has Core ML, as on a Mac."""
    try:
        with quiet():
            from executorch.runtime import Runtime

            return BACKEND in Runtime.get().backend_registry.registered_backend_names
    except Exception:  # one made for another torch; whoever needs it says so
        return False


@dataclass(frozen=True)
class Frame:
    """What stands around Core ML's package in a program.

    Args:
        package: Core ML's part, in the interpreter.
        input_name: Name of the package's input.
        output_name: Name of the package's output.
        shape: Shape of the program's input.
        dtype: Type of the program's input.
        notes: What the program says of itself.
    """

    package: Program
    input_name: str
    output_name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    notes: dict[str, str]


def open_core_ml_program(path: Path) -> Runnable:
    """Load a program whose one part is Core ML's, in lowzoo's interpreter.

    Raises:
        ParityError: It is damaged, or something else than one picture through one package.
        MilError: The package has an operator that the interpreter does not know.
    """
    frame = _read(path)

    def run(rows: NDArray[Any]) -> Array:
        fed = torch.from_numpy(np.ascontiguousarray(rows, np.float32))
        found: Array = frame.package.run(**{frame.input_name: fed})[frame.output_name].float().numpy()
        return found

    batch, *sides = frame.shape
    return Runnable(
        path=path,
        format="executorch",
        engine=f"lowzoo's MIL interpreter (torch {torch.__version__}) for ExecuTorch's Core ML",
        shape=(batch, sides[0], sides[1], sides[2]),
        dtype=frame.dtype,
        pixels=frame.dtype == np.uint8,
        metadata=frame.notes,
        run=run,
        not_run=NOT_RUN,
    )


def readiness_of_executorch(path: Path, artifact: Runnable) -> Readiness:
    """What is known of a program; of one that is handed to Core ML, its operators there."""
    operators = package_of(path).histogram() if hands_to_core_ml(path) else {}
    return Readiness(size_of(path), operators, (), advice_of(artifact))


def package_of(path: Path) -> Program:
    """Core ML's part of a program, in the interpreter; errors as `open_core_ml_program`."""
    return _read(path).package


def _read(path: Path) -> Frame:
    try:
        with quiet():
            from executorch.backends.apple.coreml import executorchcoreml
            from executorch.exir._serialize._program import deserialize_pte_binary
    except Exception as error:  # one made for another torch, or for a system without this part
        raise ParityError(
            f"executorch {version('executorch')} cannot take Core ML's part out of {path} here ({reason_of(error)})",
            "Install the executorch of your torch",
        ) from error
    try:
        program = deserialize_pte_binary(path.read_bytes()).program
        plans = {plan.name: plan for plan in program.execution_plan}
        plan = plans["forward"]
        (chain,) = plan.chains
        steps = [step.instr_args for step in chain.instructions]
        content = program.backend_delegate_data[plan.delegates[0].processed.index].data
    except Exception as error:  # flatbuffers raises what its unpacking throws
        raise ParityError(f"{path} is no program that executorch {version('executorch')} can read") from error
    reads, gives = _passage(path, plan, steps)
    with tempfile.TemporaryDirectory(prefix="lowzoo-coreml-") as folder:
        executorchcoreml.unflatten_directory_contents(content, folder)
        (manifest,) = Path(folder).rglob("Manifest.json")
        names = json.loads((manifest.parent.parent / "metadata.json").read_text(encoding="utf-8"))
        package = load_program(manifest.parent)
    (input_name,), (output_name,) = names["inputNames"], names["outputNames"]
    description = package.specification.description
    for feature, tensor in ((description.input[0], reads), (description.output[0], gives)):
        if list(feature.type.multiArrayType.shape) != list(tensor.sizes):
            raise ParityError(
                f"{path} hands Core ML {list(tensor.sizes)} where its package has "
                f"{list(feature.type.multiArrayType.shape)}",
                "Export it again",
            )
    taken = plan.values[plan.inputs[0]].val
    said = plans[NOTES].values[plans[NOTES].outputs[0]].val if NOTES in plans else None
    return Frame(
        package=package,
        input_name=input_name,
        output_name=output_name,
        shape=tuple(taken.sizes),
        dtype=np.dtype(_NUMPY[int(taken.scalar_type)]),
        notes=json.loads(said.string_val) if said is not None else {},
    )


def _passage(path: Path, plan: Any, steps: list[Any]) -> tuple[Any, Any]:
    """The tensors that go into Core ML's part and come out of it, if nothing else than a cast stands before it."""
    delegates = [step for step in steps if hasattr(step, "delegate_index")]
    casts = [step for step in steps if hasattr(step, "op_index")]
    known = len(plan.inputs) == len(plan.outputs) == len(delegates) == 1 and len(steps) == len(delegates) + len(casts)
    names = [plan.operators[step.op_index].name.rpartition("::")[2] for step in casts]
    if known and len(casts) <= 1 and all(name in _CASTS for name in names):
        first, last = delegates[0].args[0], delegates[0].args[-1]
        source = casts[0].args[0] if casts else first
        joined = not casts or casts[0].args[-1] == first
        taken, reads, gives = (plan.values[index].val for index in (source, first, last))
        through = source == plan.inputs[0] and joined and last == plan.outputs[0]
        picture = int(taken.scalar_type) in _NUMPY and len(taken.sizes) == 4 and list(taken.sizes) == list(reads.sizes)
        if through and picture:
            return reads, gives
    raise ParityError(
        f"{path} is not one picture through one Core ML package ({len(delegates)} packages; outside them "
        f"{', '.join(names) or 'nothing'})",
        "Check it on a Mac",
    )
