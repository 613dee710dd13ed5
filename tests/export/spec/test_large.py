"""Weights too large for one file lie beside it; the limit is a number here, and no test needs 2 GB."""

import os

import onnx
import pytest
import torch
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.bench.subjects.artifact import identify, open_onnx
from lowzoo.export import ExportSpec
from lowzoo.export.artifact import write_artifact
from lowzoo.export.artifacts.places import digest_of, size_of
from lowzoo.export.checking import check_artifact
from lowzoo.export.spec import large
from lowzoo.export.spec.large import data_files, parameter_bytes, refuse_two_files
from tests.helpers.export import tiny_resolved


class Wide(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.linear = nn.Conv2d(3, 64, 5, stride=4), nn.Linear(64, 64)

    def forward(self, x):
        return self.linear(torch.relu(self.conv(x)).amax((2, 3)))


BYTES = 4 * (64 * 3 * 25 + 64 + 64 * 64 + 64)


@pytest.fixture
def limit(monkeypatch):
    monkeypatch.setattr(large, "LIMIT", BYTES - 1)


@pytest.mark.slow
@pytest.mark.usefixtures("limit")
def test_two_files_that_are_one_artifact(tmp_path):
    resolved = tiny_resolved(Wide())
    assert parameter_bytes(resolved.model, ExportSpec()) == BYTES
    artifact = write_artifact(resolved, out=tmp_path / "wide.onnx")
    assert sorted(os.listdir(tmp_path)) == ["wide.onnx", "wide.onnx.data"]
    assert data_files(artifact.path) == [tmp_path / "wide.onnx.data"]
    assert artifact.size_bytes == sum(file.stat().st_size for file in tmp_path.iterdir()) > BYTES
    assert any("beside it in wide.onnx.data" in line and "fp16 makes one file" in line for line in artifact.warnings)
    report = check_artifact(artifact.path, resolved)
    assert not report.broken
    assert report.readiness.operators["Conv"] == 1
    facts = identify(artifact.path, open_onnx(artifact.path).metadata)
    assert (facts.sha256, facts.size_bytes) == (artifact.sha256, artifact.size_bytes)
    with pytest.raises(LowzooError, match="a browser takes one file"):
        refuse_two_files(artifact.path, "a browser")
    data = tmp_path / "wide.onnx.data"
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    assert digest_of(artifact.path) != artifact.sha256, "the weights count"
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    artifact.path.rename(moved / "wide.onnx")
    with pytest.raises(LowzooError, match=r"its weights, wide\.onnx\.data, do not lie beside it"):
        check_artifact(moved / "wide.onnx", resolved)


@pytest.mark.usefixtures("limit")
def test_float16_fits_into_one(tmp_path):
    artifact = write_artifact(tiny_resolved(Wide()), ExportSpec(precision="fp16"), tmp_path / "wide.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["wide.onnx"]
    assert not any("beside" in line for line in artifact.warnings)


@pytest.mark.usefixtures("limit")
def test_what_no_tool_takes_is_known_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("lowzoo.export.artifact.exported_module", lambda *_: pytest.fail("worked"))
    with pytest.raises(LowzooError, match="int8 tools take ends at") as refused:
        write_artifact(tiny_resolved(Wide()), ExportSpec(precision="int8"), tmp_path / "wide.onnx")
    assert "--precision fp32 or fp16" in refused.value.remedy
    with pytest.raises(LowzooError, match="a LiteRT file ends at"):
        write_artifact(tiny_resolved(Wide()), ExportSpec(format="litert"), tmp_path / "wide.tflite")


@pytest.mark.slow
def test_one_file_takes_the_place_of_two_and_nothing_else_is_replaced(tmp_path, monkeypatch):
    path = tmp_path / "wide.onnx"
    with monkeypatch.context() as patch:
        patch.setattr(large, "LIMIT", BYTES - 1)
        write_artifact(tiny_resolved(Wide()), out=path)
    write_artifact(tiny_resolved(Wide(1)), out=path, force=True)
    assert [file.name for file in tmp_path.iterdir()] == ["wide.onnx"], "the weights of the first are gone"
    assert onnx.load(path).graph.initializer
    assert size_of(path) == path.stat().st_size
    path.unlink()
    (tmp_path / "wide.onnx.data").write_bytes(b"mine")
    monkeypatch.setattr(large, "LIMIT", BYTES - 1)
    with pytest.raises(LowzooError, match="belongs to something else"):
        write_artifact(tiny_resolved(Wide()), out=path)
    assert [file.name for file in tmp_path.iterdir()] == ["wide.onnx.data"]
    assert (tmp_path / "wide.onnx.data").read_bytes() == b"mine"
