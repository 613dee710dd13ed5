"""Export: the file equals PyTorch, says how to be fed, and is not there when it is wrong."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from lowzoo.errors import LowzooError
from lowzoo.export import ExportSpec, ParityError, export, parity
from lowzoo.export import artifact as artifact_module
from lowzoo.resolve import Resolved, load_model


@pytest.fixture(scope="module")
def tiny() -> Resolved:
    """A small ViT with random weights."""
    return load_model("test_vit", pretrained=False, image_size=64)


def test_an_image_file_equals_pytorch_and_says_how_to_be_fed(tiny: Resolved, tmp_path: Path) -> None:
    artifact = export(tiny, ExportSpec(), tmp_path / "tiny.onnx")
    assert artifact.parity.relative_error < 1e-4
    assert artifact.parity.knn_agreement >= 0.98
    assert artifact.input_shape == (1, 64, 64, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.onnx"]
    model = onnx.load(artifact.path)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["lowzoo.model"] == tiny.name
    pixels = json.loads(facts["lowzoo.preprocessing"])
    assert (pixels["center_crop"], pixels["layout"], pixels["type"]) == (64, "NHWC", "uint8")
    assert pixels["mean"] == list(tiny.mean)
    assert model.opset_import[0].version == 20
    # By hand, without the package's own preparation of inputs.
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    found = onnxruntime.InferenceSession(str(artifact.path)).run(None, {"image": image})[0]
    mean, std = torch.tensor(tiny.mean).view(3, 1, 1), torch.tensor(tiny.std).view(3, 1, 1)
    with torch.no_grad():
        expected = tiny.model((torch.from_numpy(image).permute(0, 3, 1, 2) / 255 - mean) / std)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def test_dynamic_batch_takes_any_number_of_tensors(tiny: Resolved, tmp_path: Path) -> None:
    spec = ExportSpec(batch="dynamic", input="tensor", opset=18)
    artifact = export(tiny, spec, tmp_path / "tiny.onnx")
    assert artifact.input_shape == (0, 3, 64, 64)
    session = onnxruntime.InferenceSession(str(artifact.path))
    for batch in (1, 5):
        assert session.run(None, {"input": np.zeros((batch, 3, 64, 64), np.float32)})[0].shape == (batch, 64)


def _swap_normalisation(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if list(tensor.dims) == [1, 3, 1, 1]:
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))


def _change_one_weight(model: onnx.ModelProto) -> None:
    largest = max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
    values = numpy_helper.to_array(largest).copy()
    values.flat[: values.size // 100] += 0.05
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))


def _make_nan(model: onnx.ModelProto) -> None:
    largest = max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
    values = numpy_helper.to_array(largest).copy()
    values.flat[0] = np.nan
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))


@pytest.mark.parametrize("damage", [_swap_normalisation, _change_one_weight, _make_nan])
def test_a_broken_graph_is_refused_and_not_left_behind(
    damage, tiny: Resolved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = artifact_module._WRITERS["onnx"]

    def write_broken(module, resolved, spec, path) -> None:
        write(module, resolved, spec, path)
        model = onnx.load(path)
        damage(model)
        onnx.save(model, path)

    monkeypatch.setitem(artifact_module._WRITERS, "onnx", write_broken)
    with pytest.raises(ParityError):
        export(tiny, ExportSpec(), tmp_path / "tiny.onnx")
    assert not list(tmp_path.iterdir())


def test_a_refused_export_keeps_the_file_that_was_there(
    tiny: Resolved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.onnx").write_text("the old one")
    monkeypatch.setitem(parity.BOUNDS, "fp32", parity.Bounds(0.0, 1.1, 1.0))
    with pytest.raises(ParityError, match="smallest cosine"):
        export(tiny, ExportSpec(), tmp_path / "tiny.onnx")
    assert (tmp_path / "tiny.onnx").read_text() == "the old one"


def test_compare_by_hand() -> None:
    reference = np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]], np.float32)
    found = np.array([[3.0, 4.0], [0.0, 2.5], [1.0, 0.0]], np.float32)
    result = parity.compare(reference, found, "hand")
    assert (result.images, result.max_error, result.relative_error) == (3, 0.5, 0.125)
    assert result.mean_error == pytest.approx(0.5 / 6)
    assert result.min_cosine == pytest.approx(1.0)
    assert result.knn_agreement == 1.0
    with pytest.raises(ParityError, match="shape"):
        parity.compare(reference, found[:2], "hand")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "coreml"}, "cannot be exported yet"),
        ({"format": "tflight"}, "unknown format"),
        ({"precision": "int3"}, "cannot be exported in precision"),
        ({"batch": 0}, "a batch of 0 is impossible"),
        ({"input": "video"}, "unknown input"),
        ({"opset": 3}, "opset 3 cannot be written"),
    ],
)
def test_impossible_specs_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(LowzooError, match=message):
        ExportSpec(**fields)
