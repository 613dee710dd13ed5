"""int8 in ONNX: its ranges, the search for what stays in float, and the refusal of what loses too much."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from lowzoo.export import ExportSpec, MaxLoss, ParityError
from lowzoo.export.artifact import write_artifact
from lowzoo.export.formats.onnx.runtime import open_onnx
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.export.quantization.calibrate import activation_ranges
from tests.helpers.export import tiny_resolved


def test_ranges_by_hand(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 9])],
    )
    path = tmp_path / "relu.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    feeds = [np.arange(-4, 5, dtype=np.float32)[None], 2 * np.arange(-4, 5, dtype=np.float32)[None]]
    ranges = activation_ranges(path, feeds, ("Relu",))
    assert ranges["extremes"] == {"x": (-8, 8), "y": (0, 8)}
    assert ranges["quantiles"] == {"x": (-6, 6), "y": (0, 6)}, "the mean of both pictures' ranges"


def test_a_file_in_int8(tmp_path):
    artifact = write_artifact(tiny_resolved(), ExportSpec(precision="int8", max_loss=MaxLoss(5.0)), tmp_path / "x.onnx")
    model = onnx.load(artifact.path)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
    assert model.ir_version == 9, "what onnxruntime 1.17 reads"
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("DequantizeLinear") >= 2
    assert artifact.parity.knn_loss is not None
    assert artifact.parity.knn_loss <= 5
    assert artifact.parity.knn_images == 512
    assert artifact.parity.min_cosine < 1
    assert artifact.parity.knn_loss == ParityChecker(tiny_resolved()).knn_loss(open_onnx(artifact.path))


@pytest.mark.slow
def test_a_bound_that_no_file_keeps(tmp_path):
    spec = ExportSpec(precision="int8", max_loss=MaxLoss(None, 1.0))
    with pytest.raises(ParityError, match="all 1 products would stay in float") as refused:
        write_artifact(tiny_resolved(), spec, tmp_path / "x.onnx")
    assert "--max-loss" in refused.value.remedy
    assert not list(tmp_path.iterdir())


class TwoNets(nn.Module):
    """A harmless convolution, and one whose input channels differ so much that 256 steps keep only the largest."""

    def __init__(self) -> None:
        super().__init__()
        self.harmless, self.harmful = nn.Conv2d(3, 6, 5, stride=4), nn.Conv2d(6, 6, 3)
        self.register_buffer("stretch", torch.tensor([1e4, 1, 1, 1, 1, 1]).view(1, 6, 1, 1))

    def forward(self, x):
        x = torch.sigmoid(self.harmless(x)) * self.stretch
        return torch.tanh(self.harmful(x) / torch.tensor([1e4] + [1.0] * 5).view(1, 6, 1, 1)).amax((2, 3))


@pytest.mark.slow
def test_the_harmful_node_stays_in_float(tmp_path):
    torch.manual_seed(0)
    net = TwoNets()
    with torch.no_grad():
        # Channels of the input that count little beside the stretched one do the whole work of five outputs.
        net.harmful.weight[:, 0] = 0
        net.harmful.weight[0, 0] = 1
    artifact = write_artifact(
        tiny_resolved(net), ExportSpec(precision="int8", max_loss=MaxLoss(None, 0.999)), tmp_path / "x.onnx"
    )
    assert artifact.parity.mean_cosine >= 0.999
    assert "1 of 2 products stay in float to keep the stated loss" in artifact.warnings
    notes = {entry.key: entry.value for entry in onnx.load(artifact.path).metadata_props}
    assert notes["lowzoo.int8_float_nodes"] == "1"


class FarFromZero(nn.Module):
    """A harmless convolution, and a sum of so wide a range that 256 steps keep nothing of what was found."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 5, stride=4)
        self.register_buffer("far", torch.tensor([1e4, 0, 0, 0, 0, -1e4]).view(1, 6, 1, 1))

    def forward(self, x):
        return ((torch.sigmoid(self.conv(x)) + self.far) - self.far).amax((2, 3))


@pytest.mark.slow
def test_what_stands_between_products_stays_in_float(tmp_path):
    torch.manual_seed(0)
    spec = ExportSpec(precision="int8", max_loss=MaxLoss(None, 0.995))
    artifact = write_artifact(tiny_resolved(FarFromZero()), spec, tmp_path / "x.onnx")
    assert artifact.warnings[0] == "what stands between the products stays in float to keep the stated loss"
    model = onnx.load(artifact.path)
    weight = next(node for node in model.graph.node if node.op_type == "Conv").input[1]
    assert "DequantizeLinear" in [node.op_type for node in model.graph.node if weight in node.output]


@pytest.mark.slow
def test_pixels_are_normalised_in_float_and_quantised_once(tmp_path):
    spec = ExportSpec(precision="int8", max_loss=MaxLoss(None, 0.9))
    model = onnx.load(write_artifact(tiny_resolved(), spec, tmp_path / "x.onnx").path)
    readers = {name: node for node in model.graph.node for name in node.input}
    taken, found = model.graph.input[0].name, []
    while taken in readers and readers[taken].op_type != "QuantizeLinear":
        found.append(readers[taken].op_type)
        (taken,) = readers[taken].output
    assert [kind for kind in found if kind not in ("Reshape", "Transpose")] == ["Cast", "Mul", "Add"]
    assert taken in readers, "the normalised picture itself is quantised"
