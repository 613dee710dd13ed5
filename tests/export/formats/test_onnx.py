"""ONNX files of a tiny network: what is in them, that they run as asked, and that a broken one is never kept."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.export import ExportSpec, ParityError
from lowzoo.export.artifact import default_path, write_artifact
from lowzoo.export.formats import FORMATS
from lowzoo.export.formats.onnx.writer import write_onnx
from lowzoo.export.network.graph import PixelsIn, exported_module
from lowzoo.export.parity.checker import ParityChecker, real_images
from lowzoo.preprocess.transform import preprocess, to_uint8_input
from lowzoo.zoo.resolve import load_model
from tests.helpers.export import SIDE, TinyNet, one_of_each_network, tiny_resolved
from tests.helpers.slow import slow_but


def run(path, inputs):
    session = onnxruntime.InferenceSession(str(path))
    return session.run(None, {session.get_inputs()[0].name: inputs})[0]


def test_pixels_are_normalised_as_evaluation_does_it():
    resolved, image = tiny_resolved(), real_images(1)[0]
    pixels = torch.from_numpy(to_uint8_input(image, resolved))[None]
    for width, pixels_in in ((pixels.shape[2], pixels), (None, pixels.permute(0, 3, 1, 2))):
        by_graph = PixelsIn(nn.Identity(), resolved.mean, resolved.std, width)(pixels_in)
        torch.testing.assert_close(by_graph[0], preprocess(image, resolved), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_batch_norms_beyond_the_range_of_float16_survive_it(tmp_path):
    net = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4, bias=False), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    with torch.no_grad():
        net[0].weight.mul_(1e-6)
        net[1].running_var.fill_(1e-12)
        net[1].weight.uniform_(0.5, 1.5)
        net[1].eps = 1e-14
    artifact = write_artifact(tiny_resolved(net), ExportSpec(precision="fp16"), tmp_path / "x.onnx")
    assert artifact.parity.min_cosine > 0.9999


def test_the_network_itself_is_left_alone():
    resolved = tiny_resolved()
    module = exported_module(resolved, ExportSpec(input="tensor"))
    module.conv.weight.data.zero_()
    assert resolved.model.conv.weight.any()


def test_an_image_file(tmp_path):
    resolved = tiny_resolved()
    artifact = write_artifact(resolved, out=tmp_path / "tiny.onnx")
    assert artifact.path == tmp_path / "tiny.onnx"
    assert artifact.input_shape == (1, SIDE, SIDE, 3)
    assert artifact.size_bytes == artifact.path.stat().st_size
    assert artifact.sha256 == hashlib.sha256(artifact.path.read_bytes()).hexdigest()
    assert artifact.parity.images == 64
    assert artifact.parity.relative_error < 1e-5
    assert json.loads(json.dumps(artifact.as_dict()))["parity"]["knn_agreement"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.onnx"]

    session = onnxruntime.InferenceSession(str(artifact.path))
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.type, taken.shape) == ("image", "tensor(uint8)", [1, SIDE, SIDE, 3])
    assert (given.name, given.type, given.shape) == ("features", "tensor(float)", [1, 6])
    said = session.get_modelmeta().custom_metadata_map
    assert said["lowzoo.model"] == "tiny.tag"
    assert said["lowzoo.revision"] == "sha256:0123456789ab"
    assert (said["lowzoo.recipe"], said["lowzoo.license"], said["lowzoo.precision"]) == ("rob", "Apache-2.0", "fp32")
    preprocessing = json.loads(said["lowzoo.preprocessing"])
    assert preprocessing["resize"] == {"shorter_side": 35, "interpolation": "bicubic"}
    assert (preprocessing["center_crop"], preprocessing["mean"]) == ([SIDE, SIDE], [0.4, 0.5, 0.6])
    assert preprocessing["normalised_in_graph"] is True

    # By hand, without the package's own preparation of inputs.
    image = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    mean, std = torch.tensor(resolved.mean).view(3, 1, 1), torch.tensor(resolved.std).view(3, 1, 1)
    with torch.inference_mode():
        expected = resolved.model((torch.from_numpy(image).permute(0, 3, 1, 2) / 255 - mean) / std)
    np.testing.assert_allclose(run(artifact.path, image), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_file_tells_nothing_of_the_exporters_machine_and_comes_out_again(tmp_path):
    first = write_artifact(tiny_resolved(), out=tmp_path / "one" / "a.onnx")
    second = write_artifact(tiny_resolved(), out=tmp_path / "two" / "b.onnx")
    assert first.sha256 == second.sha256
    content = first.path.read_bytes()
    for word in (str(tmp_path), nn.__file__, __file__, "site-packages", "stack_trace"):
        assert word.encode() not in content


@pytest.mark.parametrize(
    ("opset", "ir", "precision", "runtime"),
    slow_but(
        [(18, 8, "fp32", "1.15"), (19, 9, "fp16", "1.17"), (20, 9, "fp32", "1.17"), (21, 10, "fp32", "1.18")],
        [(19, 9, "fp16", "1.17")],
    ),
)
def test_operator_sets(tmp_path, opset, ir, precision, runtime):
    artifact = write_artifact(tiny_resolved(), ExportSpec(opset=opset, precision=precision), tmp_path / "x.onnx")
    model = onnx.load(artifact.path)
    assert [(entry.domain, entry.version) for entry in model.opset_import if not entry.domain] == [("", opset)]
    assert model.ir_version == ir
    assert {entry.key: entry.value for entry in model.metadata_props}["lowzoo.min_onnxruntime"] == runtime


def test_a_dynamic_batch_of_tensors(tmp_path):
    resolved = tiny_resolved()
    artifact = write_artifact(resolved, ExportSpec(batch="dynamic", input="tensor", opset=18), tmp_path / "tiny.onnx")
    assert artifact.input_shape == (0, 3, SIDE, SIDE)
    model = onnx.load(artifact.path)
    assert model.opset_import[0].version == 18
    assert model.graph.input[0].name == "input"
    for batch in (1, 2, 7):
        inputs = torch.rand(batch, 3, SIDE, SIDE)
        with torch.inference_mode():
            expected = resolved.model(inputs)
        np.testing.assert_allclose(run(artifact.path, inputs.numpy()), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_fixed_batch_of_three(tmp_path):
    artifact = write_artifact(tiny_resolved(), ExportSpec(batch=3), tmp_path / "tiny.onnx")
    assert run(artifact.path, np.zeros((3, SIDE, SIDE, 3), np.uint8)).shape == (3, 6)
    assert artifact.parity.images == 64, "64 is no multiple of 3"


def damage(path, change):
    model = onnx.load(path)
    weight = next(tensor for tensor in model.graph.initializer if list(tensor.dims) == [6, 3, 5, 5])
    values = numpy_helper.to_array(weight).copy()
    change(values)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)


def one_weight(values):
    values[2, 1, 0, 3] += 0.1


def one_nan(values):
    values[0, 0, 0, 0] = np.nan


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    slow_but([(one_weight, "relative error"), (one_nan, "not finite")], [(one_nan, "not finite")]),
)
def test_a_damaged_graph_is_refused(monkeypatch, tmp_path, change, said):
    def write(module, resolved, spec, path, checker):
        write_onnx(module, resolved, spec, path, checker)
        damage(path, change)
        return ()

    monkeypatch.setitem(FORMATS._specs, "onnx", dataclasses.replace(FORMATS["onnx"], writer=write))
    out = tmp_path / "tiny.onnx"
    with pytest.raises(ParityError, match=said):
        write_artifact(tiny_resolved(), out=out)
    assert not list(tmp_path.iterdir())
    out.write_bytes(b"an older export")
    with pytest.raises(ParityError):
        write_artifact(tiny_resolved(), out=out, force=True)
    assert out.read_bytes() == b"an older export"
    assert len(list(tmp_path.iterdir())) == 1


def test_mean_and_deviation_exchanged_in_the_graph_are_refused(monkeypatch, tmp_path):
    def exchanged(resolved, spec):
        return PixelsIn(resolved.model, resolved.std, resolved.mean, resolved.input_size[2]).eval()

    monkeypatch.setattr("lowzoo.export.artifact.exported_module", exchanged)
    with pytest.raises(ParityError, match="relative error"):
        write_artifact(tiny_resolved(), out=tmp_path / "tiny.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_onnx_is_refused(monkeypatch, tmp_path):
    def write(module, resolved, spec, path, checker):
        path.write_bytes(b"nonsense")
        return ()

    monkeypatch.setitem(FORMATS._specs, "onnx", dataclasses.replace(FORMATS["onnx"], writer=write))
    with pytest.raises(ParityError, match="onnxruntime cannot run the artifact"):
        write_artifact(tiny_resolved(), out=tmp_path / "tiny.onnx")
    assert not list(tmp_path.iterdir())


class Unpredictable(TinyNet):
    """Branches on a value, which cannot be traced."""

    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else x.mean((2, 3))


@pytest.mark.slow
def test_a_network_that_cannot_be_traced(tmp_path):
    with pytest.raises(LowzooError, match=r"tiny\.tag cannot be exported to ONNX") as refused:
        write_artifact(tiny_resolved(Unpredictable()), out=tmp_path / "tiny.onnx")
    assert not isinstance(refused.value, ParityError)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "spec", "said"),
    [
        ({}, ExportSpec(size=64), "was created for 32 px, not 64 px"),
        ({"input_size": (1, SIDE, SIDE)}, ExportSpec(), "sets mean = .* Make it 1 numbers"),
        ({"interpolation": "magic"}, ExportSpec(), "unknown interpolation 'magic'"),
    ],
)
def test_a_model_that_does_not_fit(tmp_path, changes, spec, said):
    with pytest.raises(LowzooError, match=said):
        write_artifact(tiny_resolved(**changes), spec, tmp_path / "tiny.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("named", slow_but(["{folder}", "{folder}/", "{folder}/new/of it/"], ["{folder}/new/of it/"]))
def test_into_a_folder_the_file_goes_under_its_usual_name(tmp_path, named):
    artifact = write_artifact(tiny_resolved(), out=named.format(folder=tmp_path))
    assert artifact.path.parent == Path(named.format(folder=tmp_path))
    assert artifact.path.name == default_path(tiny_resolved(), artifact.spec).name
    assert artifact.path.is_file()


def test_a_refused_export_leaves_no_folder(tmp_path):
    with pytest.raises(LowzooError, match="64 px"):
        write_artifact(tiny_resolved(), ExportSpec(size=64), f"{tmp_path}/new/")
    assert not list(tmp_path.iterdir())


def test_another_artifact_s_folder_is_not_written_into(tmp_path):
    (tmp_path / "x.mlpackage").mkdir()
    (tmp_path / "x.mlpackage" / "Manifest.json").write_text("{}")
    with pytest.raises(LowzooError, match=r"it is a directory\. Name a place ending in \.onnx"):
        write_artifact(tiny_resolved(), out=tmp_path / "x.mlpackage")


@pytest.mark.slow
def test_the_console_stays_quiet(capfd, tmp_path):
    write_artifact(tiny_resolved(), out=tmp_path / "tiny.onnx")
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_the_bundled_model_at_another_size(tmp_path):
    artifact = write_artifact("rob_vit_tiny", ExportSpec(size=64), tmp_path / "vit.onnx")
    assert artifact.input_shape == (1, 64, 64, 3)
    assert artifact.model == "rob_vit_tiny.mobilenetv2_sup_tin100"
    operators = {node.op_type for node in onnx.load(artifact.path).graph.node}
    assert "Resize" not in operators, "position embeddings are resampled before tracing"


@pytest.mark.slow
@pytest.mark.parametrize("name", one_of_each_network())
def test_every_network_of_the_zoo(tmp_path, name):
    resolved = load_model(name, image_size=64, pretrained=False)
    artifact = write_artifact(resolved, ExportSpec(), tmp_path / "model.onnx", ParityChecker(resolved, pictures=6))
    assert artifact.parity.relative_error < 1e-4
