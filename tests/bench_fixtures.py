"""ONNX files of a few hundred bytes, made by hand."""

import json

import onnx
from onnx import TensorProto, helper

from lowzoo.bench.protocol import Protocol

# Two processes of some milliseconds each.
SHORT = Protocol(warmup_s=0.01, min_runs=20, min_s=0.0, max_s=0.5, repeats=2)


def onnx_file(path, shape=(1, 8, 8, 3), element=TensorProto.UINT8, metadata=None, inputs=1):
    """A graph that takes one picture and gives the mean of each row of its pixels."""
    taken = [helper.make_tensor_value_info(f"in{i}", element, shape) for i in range(inputs)]
    given = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    nodes = [
        helper.make_node("Cast", ["in0"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["out"], keepdims=0, axes=[1, 2]),
    ]
    graph = helper.make_graph(nodes, "mean", taken, [given])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


def described(path, **changes):
    """The same with what `lowzoo export` writes into a file."""
    preprocessing = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    said = {
        "lowzoo.model": "mean.tag",
        "lowzoo.revision": "sha256:abc",
        "lowzoo.precision": "fp32",
        "lowzoo.preprocessing": json.dumps(preprocessing),
    }
    return onnx_file(path, metadata=said, **changes)
