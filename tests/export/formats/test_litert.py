"""LiteRT files of a tiny network in LiteRT's own interpreter, and what is said where its packages are not."""

import json
from importlib.metadata import PackageNotFoundError

import pytest
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.export import ExportSpec, MaxLoss, ParityError
from lowzoo.export.artifact import write_artifact
from lowzoo.export.formats.litert.writer import open_litert
from tests.helpers.export import SIDE, tiny_resolved


@pytest.mark.parametrize("input_", ["image", "tensor"])
def test_a_file(tmp_path, input_):
    pytest.importorskip("litert_torch")
    artifact = write_artifact(tiny_resolved(), ExportSpec(format="litert", input=input_), tmp_path / "x.tflite")
    assert artifact.parity.relative_error < 1e-5
    loaded = open_litert(artifact.path)
    assert loaded.shape == ((1, SIDE, SIDE, 3) if input_ == "image" else (1, 3, SIDE, SIDE))
    assert loaded.pixels == (input_ == "image")
    assert loaded.metadata["lowzoo.model"] == "tiny.tag"
    assert json.loads(loaded.metadata["lowzoo.preprocessing"])["normalised_in_graph"] == (input_ == "image")
    assert "Interpreter(modelFile)" in artifact.snippet


def test_int8(tmp_path):
    pytest.importorskip("litert_torch")
    spec = ExportSpec(format="litert", precision="int8", max_loss=MaxLoss(None, 0.99))
    artifact = write_artifact(tiny_resolved(), spec, tmp_path / "x.tflite")
    assert 0.99 <= artifact.parity.mean_cosine < 1
    assert open_litert(artifact.path).metadata["lowzoo.precision"] == "int8"


class Wide(nn.Module):
    """A layer that is large beside the rest of a file."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 8, 8)

    def forward(self, x):
        return self.conv(x).amax((2, 3))


def test_float16_is_of_weights_alone_and_says_so(tmp_path):
    pytest.importorskip("litert_torch")
    exact = write_artifact(tiny_resolved(Wide()), ExportSpec(format="litert"), tmp_path / "x.tflite")
    half = write_artifact(
        tiny_resolved(Wide()), ExportSpec(format="litert", precision="fp16"), tmp_path / "half.tflite"
    )
    assert 1e-7 < half.parity.relative_error < 5e-3
    assert half.size_bytes < exact.size_bytes - 0.9 * 2 * 64 * 3 * 64
    loaded = open_litert(half.path)
    assert loaded.metadata["lowzoo.precision"] == "fp16"
    assert "which was not run here" in loaded.metadata["lowzoo.not_run"]
    assert half.warnings == (loaded.not_run,)
    assert exact.warnings == ()


def test_dynamic_int8(tmp_path):
    pytest.importorskip("litert_torch")
    spec = ExportSpec(format="litert", precision="int8-dynamic", max_loss=MaxLoss(None, 0.99))
    artifact = write_artifact(tiny_resolved(Wide()), spec, tmp_path / "x.tflite")
    assert 0.99 <= artifact.parity.mean_cosine < 1
    assert artifact.parity.relative_error > 1e-5
    assert open_litert(artifact.path).metadata["lowzoo.precision"] == "int8-dynamic"
    strict = ExportSpec(format="litert", precision="int8-dynamic", max_loss=MaxLoss(None, 1.0))
    with pytest.raises(ParityError, match="no int8 file keeps the stated loss: dynamic gives"):
        write_artifact(tiny_resolved(Wide()), strict, tmp_path / "strict.tflite")


class Brightest(nn.Module):
    """Has sums and no products, so nothing that fewer bits would help."""

    def forward(self, x):
        return (x + x.roll(1, 2)).amax((2, 3))


@pytest.mark.parametrize(
    ("precision", "said"), [("fp16", "no weight is float16"), ("int8-dynamic", "no weight is int8")]
)
def test_a_file_in_which_no_weight_is_smaller_is_refused(precision, said, tmp_path):
    pytest.importorskip("litert_torch")
    spec = ExportSpec(format="litert", precision=precision, max_loss=MaxLoss(None, 0.5))
    with pytest.raises(ParityError, match=said):
        write_artifact(tiny_resolved(Brightest()), spec, tmp_path / "x.tflite")
    assert not list(tmp_path.iterdir())


def test_a_cut_file(tmp_path):
    pytest.importorskip("ai_edge_litert")
    (tmp_path / "x.tflite").write_bytes(b"nonsense" * 9)
    with pytest.raises(ParityError, match="LiteRT cannot run the artifact"):
        open_litert(tmp_path / "x.tflite")


def test_without_litert(tmp_path, monkeypatch):
    def none(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("lowzoo.system.installed.requires", none)
    monkeypatch.setattr("lowzoo.export.formats.litert.writer.find_spec", lambda name: None)
    with pytest.raises(LowzooError, match=r"litert-torch is not installed\. Install lowzoo\[litert\]"):
        write_artifact(tiny_resolved(), ExportSpec(format="litert"), tmp_path / "x.tflite")
    with pytest.raises(LowzooError, match=r"ai-edge-litert is not installed\. Install lowzoo\[litert\]"):
        open_litert(tmp_path / "x.tflite")
    assert not list(tmp_path.iterdir())


def test_a_torch_that_does_not_fit(tmp_path, monkeypatch):
    monkeypatch.setattr("lowzoo.system.installed.requires", lambda name: ["numpy", "torch<2.1,>=2.0"])
    monkeypatch.setattr("lowzoo.system.installed.version", lambda name: "0.10.0")
    with pytest.raises(
        LowzooError, match=r"litert-torch 0\.10\.0 wants torch <2\.1,>=2\.0, and torch 2\.\d+"
    ) as refused:
        write_artifact(tiny_resolved(), ExportSpec(format="litert"), tmp_path / "x.tflite")
    assert refused.value.remedy == "Make another environment with 'lowzoo[litert]' and 'torch<2.1,>=2.0'"
    assert not list(tmp_path.iterdir())
