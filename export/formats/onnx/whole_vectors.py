"""Channels in whole vectors: 72 channels of a depthwise convolution become 80, of which 8 are nothing.

onnxruntime's 8-bit depthwise convolution takes 16 channels at a time and what is left over one by one: 72 channels take
twice as long as 80 (MobileNetV3-Large has 72, 120, 184 and 200). So channels without weights are added where an
expansion makes them and a projection drops them again. Whatever stands between lets each channel be: what the added
ones hold is multiplied by 0, and the result is the same number.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from lowzoo.export.formats.onnx.walk import makers_of, readers_of

_VECTOR = 16
# Beyond this the added channels cost the products before and after them more than they spare.
_MOST = 1.25
_LETS_BE = ("Relu", "Clip", "HardSigmoid", "Sigmoid", "HardSwish", "LeakyRelu", "Mul", "Add", "GlobalAveragePool")


@dataclass
class _Tied:
    """What has to be widened together."""

    makers: dict[str, onnx.NodeProto] = field(default_factory=dict)
    depthwise: dict[str, onnx.NodeProto] = field(default_factory=dict)
    takers: dict[str, onnx.NodeProto] = field(default_factory=dict)


def fill_vectors(model: onnx.ModelProto) -> int:
    """Widen, in place, depthwise convolutions and what stands around them to a multiple of 16 channels.

    Args:
        model: A float graph whose weights are initialisers.

    Returns:
        How many depthwise convolutions were widened.
    """
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    used = [name for node in model.graph.node for name in node.input]
    wider: dict[str, NDArray[np.generic]] = {}
    done: set[str] = set()
    for node in model.graph.node:
        channels = _depthwise(node, weights)
        width = -(-channels // _VECTOR) * _VECTOR
        if node.name in done or width == channels or width > _MOST * channels:
            continue
        tied = _tied(model.graph, node, weights, channels)
        if tied is None or any(used.count(name) > 1 for name in _names(tied)):
            continue
        for each in tied.depthwise.values():
            wider |= {name: _padded(weights[name], width, 0) for name in each.input[1:]}
            next(entry for entry in each.attribute if entry.name == "group").i = width
        for each in tied.makers.values():
            wider |= {name: _padded(wider.get(name, weights[name]), width, 0) for name in each.input[1:]}
        for each in tied.takers.values():
            wider[each.input[1]] = _padded(wider.get(each.input[1], weights[each.input[1]]), width, 1)
        done |= tied.depthwise.keys()
    for tensor in model.graph.initializer:
        if tensor.name in wider:
            tensor.CopyFrom(numpy_helper.from_array(wider[tensor.name], tensor.name))
    # They state the old shapes.
    del model.graph.value_info[:]
    return len(done)


def _tied(
    graph: onnx.GraphProto, start: onnx.NodeProto, weights: dict[str, NDArray[np.generic]], channels: int
) -> _Tied | None:
    """Everything whose channels are those of one depthwise convolution; None where one cannot be widened."""
    makers, readers = makers_of(graph.node), readers_of(graph.node)
    outside = {value.name for value in (*graph.input, *graph.output)}
    found, seen, waiting = _Tied(), set[str](), [start.input[0], start.output[0]]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in outside or name not in makers:
            return None
        for node, reads in ((makers[name], False), *((reader, True) for reader in readers[name])):
            if _depthwise(node, weights) == channels:
                found.depthwise[node.name] = node
            elif node.op_type == "Conv" and _plain(node, weights):
                (found.takers if reads else found.makers)[node.name] = node
                continue
            elif node.op_type not in _LETS_BE:
                return None
            waiting += [each for each in _of_channels(node, weights) if each not in seen]
    return found


def _of_channels(node: onnx.NodeProto, weights: dict[str, NDArray[np.generic]]) -> Iterator[str]:
    """Tensors in and out of a node that have its channels; a constant per channel is refused by its missing maker."""
    yield node.output[0]
    taken = node.input if node.op_type in ("Mul", "Add") else node.input[:1]
    yield from (name for name in taken if name not in weights or weights[name].size > 1)


def _depthwise(node: onnx.NodeProto, weights: dict[str, NDArray[np.generic]]) -> int:
    """Channels of a depthwise convolution with constant weights; 0 for anything else."""
    if node.op_type != "Conv" or not all(name in weights for name in node.input[1:]):
        return 0
    shape = weights[node.input[1]].shape
    return shape[0] if _group(node) == shape[0] and shape[0] > 1 and shape[1] == 1 else 0


def _plain(node: onnx.NodeProto, weights: dict[str, NDArray[np.generic]]) -> bool:
    return _group(node) == 1 and all(name in weights for name in node.input[1:])


def _group(node: onnx.NodeProto) -> int:
    return next((entry.i for entry in node.attribute if entry.name == "group"), 1)


def _names(tied: _Tied) -> Iterable[str]:
    for nodes in (tied.makers, tied.depthwise, tied.takers):
        for node in nodes.values():
            yield from node.input[1:]


def _padded(array: NDArray[np.generic], width: int, axis: int) -> NDArray[np.generic]:
    missing = [(0, width - side if i == axis else 0) for i, side in enumerate(array.shape)]
    return np.pad(array, missing)
