"""Means, sums and L2 norms over one axis, such as a ViT's over its patches, which pnnx loses.

pnnx 20261020 writes a reduction over one axis of an ONNX graph as one over no axis, and the features keep a row for
each patch. Over two axes it is right: so the axis is made the last one, and another of length 1 is put behind it.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.helper import get_attribute_value, make_node

_REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceL2")


def over_two_axes(path: Path) -> None:
    """Rewrite in place, in an ONNX graph (B, N, C), each mean, sum and L2 norm over one axis as one over two."""
    model = onnx.load(path)
    graph = model.graph
    ranks = {each.name: len(each.type.tensor_type.shape.dim) for each in (*graph.value_info, *graph.input)}
    constants = {each.name: each for each in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        axis = _only_axis(node, constants)
        if axis is None or ranks.get(node.input[0]) != 3 or axis % 3 == 0:
            nodes.append(node)
            continue
        for name, values in (("last", [3]), ("both", [2, 3]), ("kept", [axis % 3])):
            graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), f"{node.output[0]}_{name}"))
        nodes.extend(_rewritten(node, axis % 3))
    if len(nodes) > len(graph.node):
        del graph.node[:]
        graph.node.extend(nodes)
        onnx.save(model, path)


def _only_axis(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> int | None:
    """The axis of a reduction over one; None for anything else."""
    if node.op_type not in _REDUCTIONS or len(node.input) < 2 or node.input[1] not in constants:
        return None
    axes = numpy_helper.to_array(constants[node.input[1]]).reshape(-1)
    return int(axes[0]) if len(axes) == 1 else None


def _rewritten(node: onnx.NodeProto, axis: int) -> Iterator[onnx.NodeProto]:
    keeps = {each.name: get_attribute_value(each) for each in node.attribute}.get("keepdims", 1)
    data, result = node.input[0], node.output[0]
    name = result  # the one name that is unique in every graph
    if axis == 1:
        yield make_node("Transpose", [data], [f"{name}_turned"], f"{name}_turn", perm=[0, 2, 1])
        data = f"{name}_turned"
    yield make_node("Unsqueeze", [data, f"{name}_last"], [f"{name}_wide"], f"{name}_widen")
    reduced = f"{name}_reduced" if keeps else result
    yield make_node(node.op_type, [f"{name}_wide", f"{name}_both"], [reduced], name, keepdims=0)
    if keeps:
        yield make_node("Unsqueeze", [reduced, f"{name}_kept"], [result], f"{name}_keep")
