"""ExecuTorch programs of a tiny network, in ExecuTorch's own runtime."""

from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
import torch
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.export import ExportSpec, MaxLoss, ParityError
from lowzoo.export.artifact import write_artifact
from lowzoo.export.formats.executorch.writer import _quantised, open_executorch
from lowzoo.export.network.graph import PixelsIn, exported_module
from tests.helpers.export import SIDE, tiny_resolved


@pytest.mark.parametrize("input_", ["image", "tensor"])
def test_a_program(tmp_path, input_):
    pytest.importorskip("executorch.runtime")
    artifact = write_artifact(tiny_resolved(), ExportSpec(format="executorch", input=input_), tmp_path / "x.pte")
    assert artifact.parity.relative_error < 1e-5
    assert artifact.parity.engine.startswith("executorch ")
    assert open_executorch(artifact.path).shape == ((1, SIDE, SIDE, 3) if input_ == "image" else (1, 3, SIDE, SIDE))


def test_int8(tmp_path):
    pytest.importorskip("executorch.runtime")
    spec = ExportSpec(format="executorch", precision="int8", max_loss=MaxLoss(None, 0.99))
    artifact = write_artifact(tiny_resolved(Wide()), spec, tmp_path / "x.pte")
    assert 0.99 <= artifact.parity.mean_cosine < 1
    assert artifact.path.stat().st_size < 0.4 * Wide.BYTES


class Wide(nn.Module):
    """A network most of whose bytes are weights."""

    BYTES = 4 * (48 * 2048 + 2048 * 64)

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(48, 2048), nn.Linear(2048, 64)

    def forward(self, x):
        return self.second(torch.relu(self.first(nn.functional.avg_pool2d(x, 8).flatten(1))))


def test_dynamic_int8(tmp_path):
    pytest.importorskip("executorch.runtime")
    spec = ExportSpec(format="executorch", precision="int8-dynamic", max_loss=MaxLoss(None, 0.99))
    # XNNPACK has it for layers of numbers alone.
    artifact = write_artifact(tiny_resolved(Wide()), spec, tmp_path / "x.pte")
    assert 0.99 <= artifact.parity.mean_cosine < 1
    assert artifact.path.stat().st_size < 0.4 * Wide.BYTES
    assert open_executorch(artifact.path).metadata["lowzoo.precision"] == "int8-dynamic"


def test_dynamic_int8_asks_for_no_pictures(tmp_path, monkeypatch):
    """Of four channels, say, which no embedded picture has: ranges are found in every run."""
    pytest.importorskip("executorch.runtime")

    def refuse(*_):
        raise AssertionError("nothing is calibrated")

    monkeypatch.setattr("lowzoo.export.formats.executorch.writer.calibration_images", refuse)
    spec = ExportSpec(format="executorch", precision="int8-dynamic", max_loss=MaxLoss(None, 0.99))
    assert write_artifact(tiny_resolved(Wide()), spec, tmp_path / "x.pte").parity.mean_cosine >= 0.99


class Mixed(nn.Module):
    """Each picture's mean colours by two layers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(48, 32), nn.Linear(32, 8)

    def forward(self, x):
        return self.second(torch.relu(self.first(nn.functional.avg_pool2d(x, 8).flatten(1))))


def test_float16_on_xnnpack(tmp_path):
    pytest.importorskip("executorch.runtime")
    artifact = write_artifact(
        tiny_resolved(Mixed()), ExportSpec(format="executorch", precision="fp16"), tmp_path / "x.pte"
    )
    assert 1e-6 < artifact.parity.relative_error < 5e-3
    assert artifact.parity.engine.endswith("(XNNPACK)")
    loaded = open_executorch(artifact.path)
    assert (loaded.dtype, loaded.metadata["lowzoo.precision"]) == (np.uint8, "fp16")


@pytest.mark.parametrize("width", [192, 256, 320])
def test_layer_norms_of_any_width_in_float16(tmp_path, width):
    pytest.importorskip("executorch.runtime")

    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = nn.Linear(48, width), nn.LayerNorm(width)

        def forward(self, x):
            return self.norm(self.first(nn.functional.avg_pool2d(x, 8).flatten(1)))

    spec = ExportSpec(format="executorch", precision="fp16")
    artifact = write_artifact(tiny_resolved(Normed()), spec, tmp_path / "x.pte")
    assert artifact.parity.relative_error < 1e-2


def test_torchs_own_transformer_layer_in_float16(tmp_path):
    pytest.importorskip("executorch.runtime")

    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.layer = nn.Linear(48, 32), nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)

        def forward(self, x):
            return self.layer(self.first(nn.functional.avg_pool2d(x, 8).flatten(1))[:, None]).flatten(1)

    spec = ExportSpec(format="executorch", precision="fp16")
    artifact = write_artifact(tiny_resolved(Layers().eval()), spec, tmp_path / "x.pte")
    assert artifact.parity.relative_error < 1e-2


def test_a_hard_sigmoid_of_float16_leaves_the_network_in_one_piece():
    pytest.importorskip("executorch.runtime")
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.gate, self.act = nn.Conv2d(3, 16, 3, 2), nn.Conv2d(16, 16, 1), nn.Hardsigmoid()

        def forward(self, x):
            x = torch.relu(self.stem(x))
            return (x * self.act(self.gate(x.mean((2, 3), keepdim=True)))).mean((2, 3))

    spec = ExportSpec(format="executorch", precision="fp16", input="tensor")
    module = exported_module(tiny_resolved(Gate()), spec)
    program = torch.export.export(module, (torch.zeros(1, 3, SIDE, SIDE),))
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    targets = [str(node.target) for node in lowered.exported_program().graph.nodes if node.op == "call_function"]
    assert sum("call_delegate" in target for target in targets) == 1, targets


class Brightest(nn.Module):
    """Has sums and no products, so nothing that int8 would help."""

    def forward(self, x):
        return (x + x.roll(1, 2)).amax((2, 3))


def test_a_file_in_which_no_weight_is_int8_is_refused(tmp_path):
    pytest.importorskip("executorch.runtime")
    spec = ExportSpec(format="executorch", precision="int8", max_loss=MaxLoss(None, 0.5))
    with pytest.raises(ParityError, match="dynamic gives a file in which no weight is int8"):
        write_artifact(tiny_resolved(Brightest()), spec, tmp_path / "x.pte")
    assert not list(tmp_path.iterdir())


def test_products_are_quantised_in_either_way_and_the_normalisation_is_not():
    pytest.importorskip("executorch.runtime")
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(), nn.Conv2d(4, 4, 3))
    module = PixelsIn(net, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), 16).eval()
    example = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8)
    for way in ("all", "products"):
        targets = [str(node.target) for node in _quantised(module, example, [example], way).graph.nodes]
        assert sum("dequantize_per_channel" in target for target in targets) == 2, way
        first = next(i for i, target in enumerate(targets) if "quantize_per_tensor" in target)
        assert {"aten.mul.Tensor", "aten.add.Tensor"} <= set(targets[:first]), way


def test_a_cut_program(tmp_path):
    pytest.importorskip("executorch.runtime")
    (tmp_path / "x.pte").write_bytes(b"nonsense" * 9)
    with pytest.raises(ParityError, match="executorch cannot run the artifact"):
        open_executorch(tmp_path / "x.pte")


def test_without_executorch(tmp_path, monkeypatch):
    def none(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("lowzoo.system.installed.requires", none)
    with pytest.raises(LowzooError, match=r"executorch is not installed\. Install lowzoo\[executorch\]"):
        write_artifact(tiny_resolved(), ExportSpec(format="executorch"), tmp_path / "x.pte")
    assert not list(tmp_path.iterdir())
