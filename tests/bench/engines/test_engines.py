"""The other engines of this computer: each runs the same picture in a fresh process, or says that it is not there."""

import importlib.util
from importlib.metadata import version
from pathlib import Path

import pytest
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.bench.engines import ENGINES, EngineFacts, engine_for
from lowzoo.bench.host.target import bench_host
from lowzoo.bench.results.protocol import Protocol, statistics
from lowzoo.export import ExportSpec
from lowzoo.export.artifact import write_artifact
from tests.helpers.export import SIDE, tiny_resolved

ONCE = Protocol(warmup_s=0.01, min_runs=5, min_s=0.0, max_s=0.5, repeats=1)


@pytest.mark.slow
def test_pytorch_itself(monkeypatch):
    result = bench_host("untrained:test_resnet", engine="torch", protocol=ONCE, progress=False)
    assert (result.engine.name, result.engine.version, result.engine.provider) == ("torch", version("torch"), "eager")
    assert result.statistics == statistics(result.repeats[0].samples_ms)
    assert result.input.shape[:2] == (1, 3)
    assert any("weights are random" in warning for warning in result.warnings)


@pytest.mark.skipif(importlib.util.find_spec("executorch") is None, reason="executorch is not installed")
def test_executorch(tmp_path):
    """The program was written by `lowzoo export --format executorch` from the tests' tiny network."""
    file = Path(__file__).with_name("tiny.pte")
    result = bench_host(file, engine="executorch", protocol=ONCE, progress=False)
    assert (result.engine.provider, result.input.type, result.input.shape) == ("XNNPACK", "uint8", (1, 32, 32, 3))
    assert result.statistics.n >= ONCE.min_runs
    cut = tmp_path / "cut.pte"
    cut.write_bytes(file.read_bytes()[:100])
    with pytest.raises(LowzooError, match=r"cut\.pte is no file that ExecuTorch can load"):
        bench_host(cut, engine="executorch", protocol=ONCE, progress=False)


@pytest.mark.skipif(importlib.util.find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed")
def test_litert(tmp_path):
    """The file holds a single ReLU of (1, 32, 32, 3)."""
    file = Path(__file__).with_name("tiny.tflite")
    result = bench_host(file, engine="litert", protocol=ONCE, progress=False)
    assert (result.engine.provider, result.input.type, result.input.shape) == ("XNNPACK", "float32", (1, 32, 32, 3))
    assert result.statistics.n >= ONCE.min_runs
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(file.read_bytes()[:50])
    with pytest.raises(LowzooError, match=r"cut\.tflite is no file that LiteRT can load"):
        bench_host(cut, engine="litert", protocol=ONCE, progress=False)


class Mean(nn.Module):
    """A convolution and its mean."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return self.conv(x).mean((2, 3))


@pytest.mark.parametrize(
    ("engine", "package", "type_", "shape"),
    [
        ("openvino", "openvino", "uint8", (1, SIDE, SIDE, 3)),
        pytest.param("ncnn", "pnnx", "float32", (1, 3, SIDE, SIDE), marks=pytest.mark.slow),
        pytest.param("mnn", "_mnncengine", "uint8", (1, SIDE, SIDE, 3), marks=pytest.mark.slow),
    ],
)
def test_the_runtimes_of_other_phones(engine, package, type_, shape, tmp_path):
    pytest.importorskip(package, reason=f"needs lowzoo[{engine}]")
    path = tmp_path / f"x{ENGINES[engine].suffix}"
    write_artifact(tiny_resolved(Mean()), ExportSpec(format=engine), path)
    result = bench_host(path, engine=engine, protocol=ONCE, progress=False)
    assert (result.engine.name, result.engine.provider) == (engine, "CPU")
    assert (result.input.type, result.input.shape) == (type_, shape)
    assert result.model.name == "tiny.tag"
    assert result.statistics.n >= ONCE.min_runs
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(LowzooError, match="cannot be opened"):
        bench_host(path, engine=engine, protocol=ONCE, progress=False)


def test_an_engine_that_is_not_installed():
    absent = EngineFacts("frobnicate", "ort", "frobnicate_rt", "frobnicate-rt", ".frob", "CPU", {})
    with pytest.raises(LowzooError, match=r"frobnicate is not installed\. Run `pip install frobnicate-rt`"):
        absent.require()


def test_an_engine_by_its_files():
    assert engine_for(".pte") is ENGINES["executorch"]
    assert engine_for(".txt") is None
    assert engine_for("") is None
