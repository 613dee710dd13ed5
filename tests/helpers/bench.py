"""ONNX files of a few hundred bytes, made by hand."""

import json

import onnx
from onnx import TensorProto, helper

from lowzoo.bench.results.assemble import assemble, repeat_of
from lowzoo.bench.results.protocol import Protocol
from lowzoo.bench.results.schema import Condition, Device, Engine, ModelFile, ModelInput

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


def made_result(
    samples=((5.0, 5.2), (5.1, 5.3)), *, target="host", kind="computer", other_load=None, name="mean.tag", **changes
):
    """A result of given samples, one tuple a repeat, as if it had been measured."""
    repeats = [
        repeat_of(
            row,
            load_ms=5.0,
            first_run_ms=7.0,
            warmup_runs=3,
            baseline_memory_mb=None,
            peak_memory_mb=50.0,
            other_load=other_load,
        )
        for row in samples
    ]
    idle = Condition(load_average=0.0, temperature_c=None, thermal_status=None, battery_percent=None, charging=None)
    facts = {
        "target": target,
        "measured_at": "2026-01-01T00:00:00+00:00",
        "protocol": SHORT,
        "device": Device(
            kind=kind, name="box", cpu="chip", cores=2, isa=(), governor=None, os="Linux 6", arch="x86_64"
        ),
        "before": idle,
        "after": idle,
        "engine": Engine(name="onnxruntime", version="1.2", provider="CPU", threads=1, settings={}),
        "model": ModelFile(
            file="mean.onnx", sha256="ab" * 32, size_bytes=1000, name=name, revision="sha256:abc", precision="fp32"
        ),
        "input": ModelInput(name="image", type="tensor(uint8)", shape=(1, 8, 8, 3), content="photograph"),
        "versions": {"lowzoo": "0"},
    }
    return assemble(repeats, **facts | changes)
