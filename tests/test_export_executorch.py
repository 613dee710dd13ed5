"""ExecuTorch programs of a tiny network, in ExecuTorch's own runtime."""

from importlib.metadata import PackageNotFoundError

import pytest
import torch
from torch import nn

from lowzoo.errors import LowzooError
from lowzoo.export import ExportSpec, MaxLoss, ParityError, export
from lowzoo.export.executorch import _quantised, open_executorch
from lowzoo.export.graph import PixelsIn
from tests.export_fixtures import SIDE, tiny_resolved


@pytest.mark.parametrize("input_", ["image", "tensor"])
def test_a_program(tmp_path, input_):
    pytest.importorskip("executorch.runtime")
    artifact = export(tiny_resolved(), ExportSpec(format="executorch", input=input_), tmp_path / "x.pte")
    assert artifact.parity.relative_error < 1e-5
    assert artifact.parity.engine.startswith("executorch ")
    assert open_executorch(artifact.path).shape == ((1, SIDE, SIDE, 3) if input_ == "image" else (1, 3, SIDE, SIDE))


def test_int8(tmp_path):
    pytest.importorskip("executorch.runtime")
    spec = ExportSpec(format="executorch", precision="int8", max_loss=MaxLoss(None, 0.99))
    artifact = export(tiny_resolved(), spec, tmp_path / "x.pte")
    assert 0.99 <= artifact.parity.mean_cosine < 1


class Brightest(nn.Module):
    """Has sums and no products, so nothing that int8 would help."""

    def forward(self, x):
        return (x + x.roll(1, 2)).amax((2, 3))


def test_a_file_in_which_no_weight_is_int8_is_refused(tmp_path):
    pytest.importorskip("executorch.runtime")
    spec = ExportSpec(format="executorch", precision="int8", max_loss=MaxLoss(None, 0.5))
    with pytest.raises(ParityError, match="dynamic gives a file in which no weight is int8"):
        export(tiny_resolved(Brightest()), spec, tmp_path / "x.pte")
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

    monkeypatch.setattr("lowzoo.export.installed.requires", none)
    with pytest.raises(LowzooError, match=r"executorch is not installed\. Install lowzoo\[executorch\]"):
        export(tiny_resolved(), ExportSpec(format="executorch"), tmp_path / "x.pte")
    assert not list(tmp_path.iterdir())
