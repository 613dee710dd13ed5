"""Gates in whole numbers: hard-sigmoid, hard-swish and SiLU of an int8 graph, without a detour by floats.

onnxruntime multiplies, adds and pools 8-bit numbers, but of activations it knows the sigmoid alone (a table of 256).
A hard-swish between two convolutions of 8 bits is therefore taken to floats and back: in MobileNetV3 that takes as long
as a third of the convolutions. Yet a hard-sigmoid is a line between two steps, and a line changes no number, only what
it stands for. For x = s (q - z),

    clamp(a x + b, 0, 1) = a s (clamp(q, z - b / (a s), z + (1 - b) / (a s)) - (z - b / (a s))),

which is a Clip of the same bytes under another scale and zero point, wherever b / (a s) is whole: so the scale of what
goes into a gate is chosen to be b / (a k). The network's own numbers pass through as they are, and a hard-swish becomes
one integer product of the bytes with their clipped selves.

x hard_sigmoid(x) is 0 below -b / a, and x sigmoid(x) nearly so below -8: ranges need not reach further down.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lowzoo.export.formats.onnx.walk import makers_of, readers_of
from lowzoo.export.quantization.calibrate import Ranges

GATES = ("HardSigmoid", "Sigmoid")
# silu(-8) is -0.003, below half a step of what it is rounded to.
_SILU_LOW = -8.0
_LARGEST = 255


def split_gates(model: onnx.ModelProto) -> None:
    """Exchange, in place, every HardSwish by the product of its input and a HardSigmoid of it."""
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        if node.op_type != "HardSwish":
            model.graph.node.append(node)
            continue
        (x,), (y,) = node.input, node.output
        gate = f"{y}_gate"
        model.graph.node.append(helper.make_node("HardSigmoid", [x], [gate], alpha=1 / 6, beta=0.5, name=gate))
        model.graph.node.append(helper.make_node("Mul", [x, gate], [y], name=f"{y}_product"))


def ranges_for_gates(model: onnx.ModelProto, ranges: Ranges) -> Ranges:
    """Move the ranges of what goes into gates to where whole numbers follow them, and no further than matters.

    Args:
        model: The float graph, after `split_gates`.
        ranges: Ranges of the graph's activations.
    """
    readers = readers_of(model.graph.node)
    found = dict(ranges)
    for node in model.graph.node:
        if node.op_type not in GATES or node.input[0] not in ranges:
            continue
        x = node.input[0]
        low, high = ranges[x]
        # x g(x) vanishes where the gate closes; where x is read by others it must be kept.
        inside = [each for each in readers[x] if each is not node]
        swish = len(inside) == 1 and inside[0].op_type == "Mul" and set(inside[0].input) == {x, node.output[0]}
        if node.op_type == "Sigmoid":
            if swish:
                found[x] = (max(low, _SILU_LOW), high)
            continue
        alpha, beta = _line(node)
        closed, opened = -beta / alpha, (1 - beta) / alpha
        if not inside:
            low, high = closed, opened
        elif swish:
            low = closed
        found[x] = _followed(min(low, closed), max(high, 0.0), closed)
    return found


def _followed(low: float, high: float, closed: float) -> tuple[float, float]:
    """The range that covers low to high, at whose steps `closed` (below 0) lies, and 0 too."""
    steps = int(_LARGEST * closed / (low - high))
    step = -closed / max(steps, 1)
    below = int(np.ceil(-low / step - 1e-6))
    return -below * step, (_LARGEST - below) * step


def gates_by_clips(model: onnx.ModelProto) -> int:
    """Exchange, in place, every HardSigmoid that stands between 8-bit numbers by a Clip of them.

    Args:
        model: After quantisation, with the ranges of `ranges_for_gates`.

    Returns:
        How many were exchanged.
    """
    graph = model.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = makers_of(graph.node)
    readers = readers_of(graph.node)
    dropped: set[str] = set()
    exchanged: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        taken, given = makers.get(node.input[0]) if node.input else None, readers[node.output[0]]
        if node.op_type != "HardSigmoid" or taken is None or taken.op_type != "DequantizeLinear":
            continue
        if len(given) != 1 or given[0].op_type != "QuantizeLinear":
            continue
        scale, zero = (values[name] for name in taken.input[1:])
        alpha, beta = _line(node)
        closed = float(zero) - beta / (alpha * float(scale))
        opened = closed + 1 / (alpha * float(scale))
        if zero.dtype != np.uint8 or abs(closed - round(closed)) > 1e-2 or not 0 <= round(closed) <= _LARGEST:
            continue
        start = node.output[0]
        last = min(round(opened), _LARGEST)
        constants = {
            f"{start}_scale": np.array(alpha * float(scale), np.float32),
            f"{start}_zero": np.array(round(closed), np.uint8),
            f"{start}_first": np.array(round(closed), np.uint8),
            f"{start}_last": np.array(last, np.uint8),
        }
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
        quantised = given[0].output[0]
        exchanged[node.name] = helper.make_node(
            "Clip", [taken.input[0], f"{start}_first", f"{start}_last"], [quantised], name=f"{start}_clip"
        )
        dropped.add(given[0].name)
        if len(readers[node.input[0]]) == 1:
            dropped.add(taken.name)
        for reader in readers[quantised]:
            if reader.op_type == "DequantizeLinear":
                reader.input[1], reader.input[2] = f"{start}_scale", f"{start}_zero"
    nodes = [exchanged.get(node.name, node) for node in graph.node if node.name not in dropped]
    del graph.node[:]
    graph.node.extend(nodes)
    return len(exchanged)


def _line(node: onnx.NodeProto) -> tuple[float, float]:
    given = {attribute.name: attribute.f for attribute in node.attribute}
    return given.get("alpha", 0.2), given.get("beta", 0.5)
