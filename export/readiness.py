"""What a phone's accelerators can do with an ONNX file, found without a phone.

onnxruntime's own usability checker tells how many partitions an execution provider would take the graph in: one is a
file that it runs whole; each further one is a hand-over between accelerator and processor, which often costs more than
is won (onnxruntime#28022: 14 partitions 43.5 ms, after a rewrite 1 partition).
"""

import tempfile
from collections import Counter
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import onnx

from lowzoo.base.quiet import quiet
from lowzoo.export.artifacts.float32_left import Float32Left
from lowzoo.export.artifacts.places import size_of
from lowzoo.export.mil import operators_of
from lowzoo.export.parity.runnable import Runnable
from lowzoo.export.spec.large import data_files

_COREML_CONFIGS = {
    "CoreML (NeuralNetwork)": "coreml_supported_neuralnetwork_ops.md",
    "CoreML (ML program)": "coreml_supported_mlprogram_ops.md",
}
# What `--for coreml-ep` rewrites.
_COREML_EP_MENDS = {"ReduceMean", "HardSigmoid", "HardSwish"}


@dataclass(frozen=True)
class Accelerator:
    """One execution provider and one file.

    Args:
        name: Name of the provider.
        partitions: Pieces of the graph that it would take.
        nodes: Nodes of the graph.
        taken: Nodes that it would take.
        blocking: Operators that it does not have, with their number.
    """

    name: str
    partitions: int
    nodes: int
    taken: int
    blocking: dict[str, int]


@dataclass(frozen=True)
class Readiness:
    """What is known of a file without running it.

    Args:
        size_bytes: Size of the file.
        operators: Number of nodes by type.
        accelerators: What each would take; empty for formats that are made for one runtime.
        advice: What to change, one sentence each.
    """

    size_bytes: int
    operators: dict[str, int]
    accelerators: tuple[Accelerator, ...] = ()
    advice: tuple[str, ...] = ()


def advice_of(artifact: Runnable) -> tuple[str, ...]:
    """What the file says of itself that an app's author should know: what has not run it, and what is not float16."""
    not_run = (f"{artifact.not_run[0].upper()}{artifact.not_run[1:]}",) if artifact.not_run else ()
    left = Float32Left.said_by(artifact.metadata)
    return (*not_run, *(left.sentences() if left else ()))


def onnx_readiness(path: Path, artifact: Runnable | None = None) -> Readiness:
    """Analyse an ONNX file; what it says of itself is told where it has been loaded."""
    said = () if artifact is None else advice_of(artifact)
    model = onnx.load(path, load_external_data=False)
    operators = dict(Counter(node.op_type for node in model.graph.node).most_common())
    if data_files(path):
        too_large = "What accelerators take was not analysed: the weights lie in a file of their own"
        return Readiness(size_of(path), operators, (), (*said, *_advice(model, operators, ()), too_large))
    accelerators = _accelerators(path)
    return Readiness(size_of(path), operators, accelerators, (*said, *_advice(model, operators, accelerators)))


def coreml_readiness(path: Path, artifact: Runnable | None = None) -> Readiness:
    """Analyse a Core ML package, which Core ML runs whole; what it places where only a Mac tells."""
    operators = dict(sorted(operators_of(path).items(), key=lambda item: -item[1]))
    return Readiness(size_of(path), operators, (), () if artifact is None else advice_of(artifact))


def _accelerators(path: Path) -> tuple[Accelerator, ...]:
    with quiet():
        from onnxruntime.tools.mobile_helpers import usability_checker
    with quiet(), tempfile.TemporaryDirectory() as folder:
        # As the providers see it: constants folded and nodes fused by the basic level.
        usability_checker.optimize_model(path, Path(folder) / "basic.onnx")
        # A fused product comes with reshapes whose sizes the file leaves out, though they are known.
        model = onnx.shape_inference.infer_shapes(_in_order(onnx.load(Path(folder) / "basic.onnx")))
        found = {"NNAPI": usability_checker.check_nnapi_partitions(model, require_fixed_input_sizes=True)}
        for name, config in _COREML_CONFIGS.items():
            fixed = "NeuralNetwork" in name
            found[name] = usability_checker.check_coreml_partitions(
                model, require_fixed_input_sizes=fixed, config_filename=config
            )
    counts = Counter(node.op_type for node in model.graph.node)
    return tuple(_accelerator(name, info, counts) for name, info in found.items())


def _in_order(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put producers before consumers, as onnxruntime's optimiser leaves them not and its checker wants them."""
    nodes = list(model.graph.node)
    producer = {output: i for i, node in enumerate(nodes) for output in node.output}
    order = TopologicalSorter(
        {i: {producer[name] for name in node.input if name in producer} for i, node in enumerate(nodes)}
    )
    ordered = [nodes[i] for i in order.static_order()]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
    return model


def _accelerator(name: str, info: Any, counts: Counter[str]) -> Accelerator:
    # The checker names a domain too, as in "ai.onnx:Gelu".
    missing = {operator.rpartition(":")[2] for operator in info.unsupported_ops}
    return Accelerator(
        name=name,
        partitions=info.num_partitions,
        nodes=info.num_nodes,
        taken=info.num_supported_nodes,
        blocking={operator: counts[operator] for operator in sorted(missing)},
    )


def _advice(model: Any, operators: dict[str, int], accelerators: tuple[Accelerator, ...]) -> list[str]:
    said = []
    dimension = model.graph.input[0].type.tensor_type.shape.dim[0]
    if dimension.WhichOneof("value") != "dim_value":
        said.append("Export with --batch 1: a dynamic batch leaves NNAPI and CoreML (NeuralNetwork) next to nothing")
    if operators.keys() & {"HardSwish", "HardSigmoid"}:
        said.append("For NNAPI export with --for nnapi: it has no hard-swish and no hard-sigmoid, but clamps")
    if operators.keys() & {"LayerNormalization", "Gelu", "Erf"}:
        said.append("For NNAPI export with --for nnapi: it has no layer norm and no GELU, but what they are made of")
    older = next((unit for unit in accelerators if "NeuralNetwork" in unit.name), None)
    if older and older.partitions > 1 and "ReduceMean" in older.blocking and older.blocking.keys() <= _COREML_EP_MENDS:
        said.append("For CoreML (NeuralNetwork) export with --for coreml-ep, or have onnxruntime make an ML program")
    for accelerator in accelerators:
        if accelerator.partitions > 1 and accelerator.blocking:
            worst = ", ".join(f"{name} ({count})" for name, count in accelerator.blocking.items())
            said.append(f"{accelerator.name} is stopped by {worst}")
    return said
