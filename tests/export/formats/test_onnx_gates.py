"""Gates and vectors of an int8 graph: the same function from whole numbers, and no way through floats left."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from lowzoo.export import ExportSpec, MaxLoss
from lowzoo.export.artifact import write_artifact
from lowzoo.export.formats.onnx.gates import gates_by_clips, ranges_for_gates, split_gates
from lowzoo.export.formats.onnx.whole_vectors import fill_vectors
from tests.helpers.export import tiny_resolved
from tests.helpers.slow import slow_but


def model_of(nodes, inputs, outputs, weights=()):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def run(model, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def quantised(scale, zero, node):
    """x -> 8 bits -> gate -> 8 bits -> y."""
    h = 1 / 255
    return model_of(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q"),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["xd"], name="d"),
            node,
            helper.make_node("QuantizeLinear", ["h", "sh", "zh"], ["qh"], name="qh"),
            helper.make_node("DequantizeLinear", ["qh", "sh", "zh"], ["y"], name="dh"),
        ],
        [("x", [1, 400])],
        ["y"],
        [
            ("s", np.float32(scale)),
            ("z", np.uint8(zero)),
            ("sh", np.float32(h)),
            ("zh", np.uint8(0)),
        ],
    )


@pytest.mark.parametrize("high", [0.5, 3.0, 7.7, 25.0])
@pytest.mark.parametrize(("alpha", "beta"), [(1 / 6, 0.5), (0.2, 0.5), (0.25, 0.4)])
def test_a_clip_of_bytes_is_the_gate_at_every_step(high, alpha, beta):
    node = helper.make_node("HardSigmoid", ["xd"], ["h"], alpha=alpha, beta=beta, name="gate")
    reads = helper.make_node("HardSigmoid", ["x"], ["h"], alpha=alpha, beta=beta, name="gate")
    product = helper.make_node("Mul", ["x", "h"], ["y"], name="product")
    floats = model_of([reads, product], [("x", [1, 400])], ["y"])
    low, top = ranges_for_gates(floats, {"x": (-20.0, high), "h": (0.0, 1.0)})["x"]
    assert top >= high * (1 - 1e-6), "nothing of what matters is cut off"
    scale = np.float32((top - low) / 255)
    model = quantised(scale, round(-low / scale), node)
    x = np.linspace(low, top, 400, dtype=np.float32)[None]
    assert gates_by_clips(model) == 1
    assert "HardSigmoid" not in {each.op_type for each in model.graph.node}
    steps = np.clip(np.round(x / scale) + round(-low / scale), 0, 255) - round(-low / scale)
    exact = np.clip(alpha * steps * scale + beta, 0, 1)
    # The opened end lies on a step where (1 - beta) / alpha is a multiple of one; the closed end always does.
    np.testing.assert_allclose(run(model, {"x": x}), exact, atol=max(alpha * float(scale) / 2, 1e-5))


def test_a_gate_at_other_steps_stays_as_it_is():
    node = helper.make_node("HardSigmoid", ["xd"], ["h"], alpha=1 / 6, beta=0.5, name="gate")
    model = quantised(0.0437, 77, node)
    assert gates_by_clips(model) == 0


def test_what_others_read_keeps_its_whole_range():
    nodes = [
        helper.make_node("HardSwish", ["x"], ["y"], name="swish"),
        helper.make_node("Add", ["x", "y"], ["z"], name="sum"),
    ]
    model = model_of(nodes, [("x", [1, 400])], ["z"])
    split_gates(model)
    low, high = ranges_for_gates(model, {"x": (-9.0, 9.0)})["x"]
    assert low <= -9
    assert high >= 9 * (1 - 1 / 64)
    alone = model_of([helper.make_node("Sigmoid", ["x"], ["h"]), helper.make_node("Mul", ["x", "h"], ["y"])], [], [])
    assert ranges_for_gates(alone, {"x": (-30.0, 5.0)})["x"] == (-8.0, 5.0)


class Block(nn.Module):
    """An inverted bottleneck with squeeze and excitation, of 24 channels or any number."""

    def __init__(self, channels=72, act=nn.Hardswish) -> None:
        super().__init__()
        self.stem, self.expand = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, channels, 1)
        self.depthwise, self.act = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels), act()
        self.pool, self.squeeze = nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 8, 1)
        self.excite, self.gate = nn.Conv2d(8, channels, 1), nn.Hardsigmoid()
        self.project = nn.Conv2d(channels, 12, 1)

    def forward(self, x):
        x = self.act(self.stem(x))
        y = self.act(self.depthwise(self.act(self.expand(x))))
        y = y * self.gate(self.excite(torch.relu(self.squeeze(self.pool(y)))))
        return self.pool(self.project(y)).flatten(1)


@pytest.mark.parametrize(("channels", "wide"), slow_but([(72, 80), (80, 80), (40, 48), (20, 20)], [(72, 80)]))
def test_added_channels_change_no_number(channels, wide, tmp_path):
    torch.manual_seed(0)
    model = Block(channels).eval()
    path = tmp_path / "x.onnx"
    write_artifact(tiny_resolved(model), ExportSpec(input="tensor"), path)
    graph = onnx.load(path)
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32), np.float32)
    before = run(graph, {"input": x})
    from lowzoo.export.network.rewrites import global_pools

    global_pools(graph)
    assert fill_vectors(graph) == (wide > channels)
    np.testing.assert_allclose(run(graph, {"input": x}), before, rtol=1e-5, atol=1e-6)
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.graph.initializer}
    assert any(shape[:2] == [wide, 1] for shape in shapes.values())


def test_a_depthwise_convolution_whose_channels_are_the_output_is_left_alone(tmp_path):
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.expand, self.depthwise = nn.Conv2d(3, 24, 1), nn.Conv2d(24, 24, 3, groups=24)

        def forward(self, x):
            return self.depthwise(self.expand(x)).mean((2, 3))

    path = tmp_path / "x.onnx"
    write_artifact(tiny_resolved(Last()), ExportSpec(input="tensor"), path)
    assert fill_vectors(onnx.load(path)) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (nn.Hardswish, {"QLinearConv": 5, "Clip": 3, "QLinearMul": 3}),
        (nn.SiLU, {"QLinearConv": 5, "Clip": 1, "QLinearMul": 3, "QLinearSigmoid": 2}),
    ],
)
def test_nothing_between_the_stem_and_the_features_is_in_floats(act, expected, tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "x.onnx"
    spec = ExportSpec(precision="int8", max_loss=MaxLoss(None, 0.5))
    write_artifact(tiny_resolved(Block(72, act)), spec, path)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    counts = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert {kind: counts[kind] for kind in expected} == expected
    assert counts["QuantizeLinear"] == 1, "after the stem, which is in floats"
    assert counts["DequantizeLinear"] == 1, "before the features"
    assert counts["QLinearGlobalAveragePool"] == 2
    notes = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert notes["lowzoo.int8_float_nodes"] == "0"
