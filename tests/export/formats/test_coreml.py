"""Core ML packages: what is in them, that they come out again, and that whole programs compute what PyTorch does."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.export import ExportSpec, MaxLoss, ParityError
from lowzoo.export.artifact import write_artifact
from lowzoo.export.formats.coreml.writer import open_coreml
from lowzoo.export.mil import load_program
from lowzoo.export.network.head import read_classes, read_head, with_head
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.zoo.resolve import load_model
from tests.helpers.export import SIDE, one_of_each_network, tiny_resolved
from tests.helpers.slow import slow_but


def test_an_image_package(tmp_path, tmp_path_factory, monkeypatch):
    path = tmp_path / "tiny.mlpackage"
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    artifact = write_artifact(tiny_resolved(), ExportSpec(format="coreml"), path)
    assert artifact.parity.relative_error < 1e-5
    assert artifact.size_bytes == sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert [entry.name for entry in tmp_path.iterdir()] == ["tiny.mlpackage"]
    description = load_program(path).specification.description
    assert (description.input[0].name, description.output[0].name) == ("image", "features")
    assert "batch_norm" not in load_program(path).histogram(), "its epsilon would spoil the normalisation"
    image = description.input[0].type.imageType
    assert (image.width, image.height) == (SIDE, SIDE)
    said = description.metadata.userDefined
    assert (said["lowzoo.model"], said["lowzoo.precision"]) == ("tiny.tag", "fp32")
    assert json.loads(said["lowzoo.preprocessing"])["normalised_in_graph"] is True
    assert "VNCoreMLRequest" in artifact.snippet
    assert "0 to 255 as they are" in artifact.preprocess
    again = write_artifact(tiny_resolved(), ExportSpec(format="coreml"), path)
    assert again.sha256 == artifact.sha256, "an older package is replaced by an equal one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["tiny.mlpackage"]
    assert not list(temporary.iterdir()), "coremltools' own copies would stay until Python ends"


@pytest.mark.parametrize("precision", slow_but(["fp16", "int8", "palette6", "palette4"], ("fp16",)))
def test_precisions(tmp_path, precision):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 32, 5, stride=4), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    spec = ExportSpec(format="coreml", precision=precision, input="tensor", max_loss=MaxLoss(10.0))
    artifact = write_artifact(tiny_resolved(net), spec, tmp_path / "x.mlpackage")
    assert artifact.parity.max_error > 0
    operators = {op.type for op in _operations(artifact.path)}
    wanted = {"fp16": "cast", "int8": "constexpr_affine_dequantize"}.get(precision, "constexpr_lut_to_dense")
    assert wanted in operators


def _operations(path):
    function = load_program(path).specification.mlProgram.functions["main"]
    return function.block_specializations[function.opset].operations


def test_a_package_in_the_way_of_nothing_else(tmp_path):
    folder = tmp_path / "holiday.mlpackage"
    folder.mkdir()
    (folder / "photo.txt").write_text("mine")
    with pytest.raises(LowzooError, match="a folder of something else"):
        write_artifact(tiny_resolved(), ExportSpec(format="coreml"), folder)
    assert (folder / "photo.txt").read_text() == "mine"


@pytest.mark.slow
def test_a_wrong_package_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("lowzoo.export.artifact.exported_module", lambda resolved, spec: nn.Sequential(
        nn.Conv2d(3, 6, SIDE), nn.Flatten()
    ).eval())  # fmt: skip
    with pytest.raises(ParityError, match="relative error"):
        write_artifact(tiny_resolved(), ExportSpec(format="coreml"), tmp_path / "x.mlpackage")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("said", "remedy"), [("[Errno 28] No space left", "Free some space"), ("odd", "--out")])
def test_a_disk_that_fills_up(tmp_path, monkeypatch, said, remedy):
    def full(self, path):
        raise shutil.Error([("a", "b", said)])

    monkeypatch.setattr("coremltools.models.MLModel.save", full)
    with pytest.raises(LowzooError, match="cannot write") as refused:
        write_artifact(tiny_resolved(), ExportSpec(format="coreml"), tmp_path / "x.mlpackage")
    assert remedy in refused.value.remedy
    assert not list(tmp_path.iterdir())


@pytest.fixture
def head(tmp_path):
    torch.manual_seed(1)
    save_file({"weight": torch.randn(3, 6), "bias": torch.randn(3)}, tmp_path / "head.safetensors")
    (tmp_path / "classes.txt").write_text("cat\ndog\n\nowl\n")
    return tmp_path / "head.safetensors", tmp_path / "classes.txt"


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["onnx", "coreml"])
def test_a_classifier(tmp_path, head, format_):
    classes = read_classes(head[1])
    assert classes == ("cat", "dog", "owl")
    resolved = with_head(tiny_resolved(), *read_head(head[0]), classes)
    suffix = {"onnx": "onnx", "coreml": "mlpackage"}[format_]
    artifact = write_artifact(resolved, ExportSpec(format=format_, classes=classes), tmp_path / f"x.{suffix}")
    assert artifact.parity.relative_error < 1e-4
    if format_ == "coreml":
        description = load_program(artifact.path).specification.description
        assert description.predictedFeatureName == "classLabel"
        loaded = open_coreml(artifact.path)
        assert loaded.probabilities
        assert json.loads(loaded.metadata["lowzoo.classes"]) == ["cat", "dog", "owl"]


def test_heads_that_do_not_fit(tmp_path, head):
    weight, bias = read_head(head[0])
    with pytest.raises(LowzooError, match="3 classes, the list names 2"):
        with_head(tiny_resolved(), weight, bias, ("cat", "dog"))
    with pytest.raises(LowzooError, match=r"takes 5 features, tiny\.tag gives 6"):
        with_head(tiny_resolved(), weight[:, :5], bias, ("cat", "dog", "owl"))
    save_file({"kernel": weight}, tmp_path / "other.safetensors")
    with pytest.raises(LowzooError, match=r"holds no `weight` .*, but kernel \(3, 6\)"):
        read_head(tmp_path / "other.safetensors")
    with pytest.raises(LowzooError, match="cannot be read as a head"):
        read_head(head[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision"),
    [(name, "fp32") for name in one_of_each_network()] + [("rob_vit_tiny", "fp16"), ("rob_mobilenetv3_large", "fp16")],
)
def test_every_network_of_the_zoo(tmp_path, name, precision):
    resolved = load_model(name, image_size=64, pretrained=name == "rob_vit_tiny")
    spec, checker = ExportSpec(format="coreml", precision=precision), ParityChecker(resolved, pictures=6)
    artifact = write_artifact(resolved, spec, tmp_path / "x.mlpackage", checker)
    assert artifact.parity.relative_error < (1e-4 if precision == "fp32" else 5e-2)
    assert artifact.parity.min_cosine > (0.99999 if precision == "fp32" else 0.9995)
