"""Ways through an ONNX graph: who makes a tensor, and who reads it."""

from collections import defaultdict
from collections.abc import Iterable

import onnx


def makers_of(nodes: Iterable[onnx.NodeProto]) -> dict[str, onnx.NodeProto]:
    """The node that makes each tensor; inputs and weights have none."""
    return {name: node for node in nodes for name in node.output}


def readers_of(nodes: Iterable[onnx.NodeProto]) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that read each tensor, in their order; an empty list for one that nobody reads."""
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in nodes:
        for name in dict.fromkeys(node.input):
            readers[name].append(node)
    return readers
