"""What phones can do with a file, and the rewrites that change it."""

import copy

import pytest
import torch
from torch import nn

from lowzoo.export import ExportSpec
from lowzoo.export.artifact import write_artifact
from lowzoo.export.network.rewrites import (
    PlainAttention,
    PlainGelu,
    PlainLayerNorm,
    clamps_for_hard_activations,
    plain_mean_pools,
    plain_transformer_layers,
)
from lowzoo.export.readiness import coreml_readiness, onnx_readiness
from lowzoo.zoo.resolve import load_model
from tests.helpers.export import tiny_resolved


class Hard(nn.Module):
    """Both hard activations, one of them a child of a child, and a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 5, 4), nn.Sequential(nn.Hardswish(), nn.Conv2d(6, 6, 1)))
        self.gate, self.pool = nn.Hardsigmoid(), nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        x = self.body(x)
        return (x * self.gate(4 * self.pool(x))).mean((2, 3))


def test_rewrites_are_the_same_function():
    torch.manual_seed(0)
    net, x = Hard().eval(), torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = net(x)
        changed = plain_mean_pools(clamps_for_hard_activations(net))
        torch.testing.assert_close(changed(x), expected, rtol=1e-5, atol=1e-6)
    kinds = {type(module) for module in changed.modules()}
    assert not kinds & {nn.Hardswish, nn.Hardsigmoid, nn.AdaptiveAvgPool2d}


@pytest.mark.slow
def test_nnapi_takes_a_rewritten_network_whole(tmp_path):
    plain = onnx_readiness(write_artifact(tiny_resolved(Hard()), out=tmp_path / "a.onnx").path)
    clamps = onnx_readiness(write_artifact(tiny_resolved(Hard()), ExportSpec(target="nnapi"), tmp_path / "b.onnx").path)
    nnapi = [{unit.name: unit for unit in ready.accelerators}["NNAPI"] for ready in (plain, clamps)]
    assert nnapi[0].partitions > 1
    assert nnapi[0].blocking == {"HardSigmoid": 2}
    assert any("--for nnapi" in sentence for sentence in plain.advice)
    assert (nnapi[1].partitions, nnapi[1].taken, nnapi[1].blocking) == (1, nnapi[1].nodes, {})
    assert not any("--for nnapi" in sentence for sentence in clamps.advice)


@pytest.mark.slow
def test_coreml_ep_takes_a_rewritten_network_whole(tmp_path):
    plain = onnx_readiness(write_artifact(tiny_resolved(Hard()), out=tmp_path / "a.onnx").path)
    pools = onnx_readiness(
        write_artifact(tiny_resolved(Hard()), ExportSpec(target="coreml-ep"), tmp_path / "b.onnx").path
    )
    older = [{unit.name: unit for unit in ready.accelerators}["CoreML (NeuralNetwork)"] for ready in (plain, pools)]
    assert older[0].blocking == {"HardSigmoid": 2, "ReduceMean": 2}
    assert any("--for coreml-ep" in sentence for sentence in plain.advice)
    assert (older[1].partitions, older[1].blocking) == (1, {})
    assert pools.operators["GlobalAveragePool"] == 2


def test_gelu_written_out():
    x = torch.linspace(-12, 12, 20001)
    exact = nn.functional.gelu(x.double()).float()
    torch.testing.assert_close(PlainGelu()(x), exact, rtol=0, atol=5e-7)


@pytest.fixture(scope="module")
def small_vit():
    resolved = load_model("test_vit", image_size=32, pretrained=False)
    for module in resolved.model.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return resolved


def test_a_transformer_written_out_is_the_same_function(small_vit):
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = small_vit.model(x)
        changed = plain_transformer_layers(copy.deepcopy(small_vit.model))
        torch.testing.assert_close(changed(x), expected, rtol=1e-4, atol=1e-4)
    kinds = [type(module) for module in changed.modules()]
    assert not set(kinds) & {nn.LayerNorm, nn.GELU}
    assert min(kinds.count(kind) for kind in (PlainAttention, PlainGelu, PlainLayerNorm)) > 0


@pytest.mark.slow
def test_nnapi_takes_a_transformer_written_out_whole(small_vit, tmp_path):
    plain, written = (
        onnx_readiness(write_artifact(small_vit, ExportSpec(target=target), tmp_path / f"{target}.onnx").path)
        for target in ("cpu", "nnapi")
    )
    nnapi = [{unit.name: unit for unit in ready.accelerators}["NNAPI"] for ready in (plain, written)]
    assert set(nnapi[0].blocking) == {"Gelu", "LayerNormalization"}
    assert any("--for nnapi" in sentence for sentence in plain.advice)
    assert (nnapi[1].partitions, nnapi[1].taken) == (1, nnapi[1].nodes)


@pytest.mark.slow
def test_a_core_ml_package(tmp_path):
    artifact = write_artifact(tiny_resolved(), ExportSpec(format="coreml"), tmp_path / "x.mlpackage")
    ready = coreml_readiness(artifact.path)
    assert ready.operators["conv"] == 1
    assert (ready.size_bytes, ready.accelerators) == (artifact.size_bytes, ())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "target"),
    [("resnet18", "cpu"), ("mobilenetv2_100", "cpu"), ("efficientnet_b0", "cpu"), ("mobilenetv3_large_100", "nnapi")],
)
def test_one_partition(tmp_path, name, target):
    resolved = load_model(name, image_size=64, pretrained=False)
    units = onnx_readiness(write_artifact(resolved, ExportSpec(target=target), tmp_path / "x.onnx").path).accelerators
    partitions = {unit.name: unit.partitions for unit in units}
    assert partitions["NNAPI"] == 1
    assert partitions["CoreML (ML program)"] == 1
