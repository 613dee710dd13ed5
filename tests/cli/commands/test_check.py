"""`lowzoo check`: parity of a file made earlier, what phones can run, and every kind of wrong file."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from lowzoo.export import ExportSpec, MaxLoss
from lowzoo.export.artifact import write_artifact
from tests.helpers.cli import exit_status
from tests.helpers.export import tiny_resolved
from tests.helpers.slow import slow_but


def run(words: list[str]) -> int:
    return exit_status(["check", *words])


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowzoo.export.artifacts.identity.load_model", lambda word, image_size=None: tiny_resolved())


@pytest.mark.parametrize("format_", slow_but(["onnx", "coreml"], ["onnx"]))
def test_a_good_file(format_: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = write_artifact(
        tiny_resolved(), ExportSpec(format=format_), tmp_path / f"x.{'mlpackage' if format_ == 'coreml' else 'onnx'}"
    )
    assert run([str(artifact.path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["schema"], facts["model"], facts["precision"]) == ("lowzoo.check/1", "tiny.tag", "fp32")
    assert facts["parity"]["max_error"] == artifact.parity.max_error
    assert facts["readiness"]["size_bytes"] == artifact.size_bytes
    assert facts["readiness"]["operators"]["Conv" if format_ == "onnx" else "conv"] == 1
    assert facts["broken"] == []


def test_the_table_names_partitions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = write_artifact(tiny_resolved(), ExportSpec(batch="dynamic"), tmp_path / "x.onnx")
    assert run([str(artifact.path), "--against", "tiny"]) == 0
    text = capsys.readouterr().out
    assert "every bound is kept" in text
    assert "NNAPI" in text
    assert "Export with --batch 1" in text


def test_a_changed_weight_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_artifact(tiny_resolved(), out=tmp_path / "x.onnx").path
    model = onnx.load(path)
    weight = next(tensor for tensor in model.graph.initializer if list(tensor.dims) == [6, 3, 5, 5])
    values = numpy_helper.to_array(weight).copy()
    values[2, 1, 0, 3] += np.float32(0.1)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)
    assert run([str(path)]) == 1
    assert "BROKEN: relative error" in capsys.readouterr().out


@pytest.mark.slow
def test_a_file_of_other_weights_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_artifact(tiny_resolved(), out=tmp_path / "x.onnx").path
    other = tiny_resolved(revision="sha256:other")
    torch.nn.init.constant_(other.model.norm.bias, 1e-7)
    monkeypatch.setattr("lowzoo.export.artifacts.identity.load_model", lambda word: other)
    assert run([str(path)]) == 2
    error = capsys.readouterr().err
    assert "was made from tiny.tag with weights sha256:" in error
    assert "(sha256:0123456789ab), and these are others: tiny.tag (sha256:other)" in error
    assert "--against" in error
    assert run([str(path), "--against", "tiny"]) == 0
    assert "which are other weights than the file was made from" in capsys.readouterr().out


@pytest.mark.slow
def test_a_file_is_held_to_what_it_was_exported_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.onnx"
    write_artifact(tiny_resolved(), ExportSpec(precision="int8", max_loss=MaxLoss(None, 0.9)), path)
    assert run([str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["bounds"]["mean_cosine"], facts["bounds"]["knn_loss"], facts["parity"]["knn_loss"]) == (
        0.9,
        None,
        None,
    )
    model = onnx.load(path)
    next(entry for entry in model.metadata_props if entry.key == "lowzoo.max_loss").value = "cosine:1"
    onnx.save(model, path)
    assert run([str(path)]) == 1
    assert "BROKEN: mean cosine" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.onnx", "does not exist"),
        ("text.onnx", "is no ONNX file: it is text"),
        ("text.mnn", "is no MNN file: it is text"),
        ("void.xml", "is no OpenVINO file: it is empty"),
        ("ONNX.mnn", "is no MNN file: its first bytes are those of ONNX"),
        ("UPPER.ONNX", "does not end in .onnx. Rename it"),
        ("weights.bin", "holds the weights of weights.xml. Name"),
        pytest.param("cut.onnx", "cannot be opened", marks=pytest.mark.slow),
        ("empty.mlpackage", "is no Core ML package"),
        pytest.param("cut.mlpackage", "weight.bin is damaged or cut short", marks=pytest.mark.slow),
        pytest.param("light.mlpackage", "lacks Data/com.apple.CoreML/weights", marks=pytest.mark.slow),
        pytest.param("away.mlpackage", "lacks Data//nowhere", marks=pytest.mark.slow),
        pytest.param("list.mlpackage", "the Manifest.json of", marks=pytest.mark.slow),
        ("model.h5", "no artifact of a known format"),
        ("folder.onnx", "is a folder, and artifacts of ONNX are files"),
        ("file.mlpackage", "is a file, and artifacts of Core ML are folders"),
        pytest.param("other.onnx", "onnxruntime cannot run the artifact", marks=pytest.mark.slow),
        ("cut.pte", "executorch"),
        ("cut.tflite", "litert"),
    ],
)
def test_wrong_files(name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    if name in ("empty.mlpackage", "folder.onnx"):
        path.mkdir()
    elif name == "cut.mlpackage":
        write_artifact(tiny_resolved(), ExportSpec(format="coreml"), path)
        weights = path / "Data/com.apple.CoreML/weights/weight.bin"
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    elif name in ("light.mlpackage", "list.mlpackage", "away.mlpackage"):
        write_artifact(tiny_resolved(), ExportSpec(format="coreml"), path)
        if name.startswith("light"):
            shutil.rmtree(path / "Data/com.apple.CoreML/weights")
        elif name.startswith("away"):
            parts = {"itemInfoEntries": {"a": {"path": "/nowhere"}}, "rootModelIdentifier": "a"}
            (path / "Manifest.json").write_text(json.dumps(parts))
        else:
            (path / "Manifest.json").write_text("[" * 100_000)
    elif name == "void.xml":
        path.touch()
        path.with_suffix(".bin").touch()
    elif name == "ONNX.mnn":
        path.write_bytes(b"\x08\x08\x12\x07pytorch")
    elif name == "weights.bin":
        path.touch()
        path.with_suffix(".xml").touch()
    elif name == "cut.onnx":
        write_artifact(tiny_resolved(), out=path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif name == "other.onnx":
        write_artifact(tiny_resolved(), ExportSpec(format="coreml"), tmp_path / "package.mlpackage")
        path.write_bytes((tmp_path / "package.mlpackage/Data/com.apple.CoreML/model.mlmodel").read_bytes())
    elif name != "none.onnx":
        path.write_text("nonsense")
    assert run([str(path)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("lowzoo: error: ")
    assert said.lower() in error.lower()
