"""A file that was taught: `lowzoo check` rebuilds its head from the file, and finds what has changed in it."""

import dataclasses
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch.nn.functional import normalize

from lowzoo.base.errors import LowzooError
from lowzoo.export import check
from lowzoo.export.artifact import write_artifact
from lowzoo.export.network.prototypes import INITIALISER, SIMILARITY
from lowzoo.export.spec.bounds import ParityError
from lowzoo.export.spec.spec import ExportSpec, MaxLoss
from tests.demo.files import taught, unit_columns
from tests.helpers.export import tiny_resolved

PROTOTYPES_DK = unit_columns(6, 3)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return write_artifact(tiny_resolved(), out=tmp_path_factory.mktemp("taught") / "tiny.onnx").path


@pytest.fixture
def network(monkeypatch):
    """What the file says it was made from."""
    resolved = tiny_resolved()
    monkeypatch.setattr("lowzoo.export.artifacts.identity.load_model", lambda *_, **__: resolved)
    return resolved


def saved(model, path):
    onnx.save(model, path)
    return path


def test_check_takes_it(exported, network, tmp_path):
    path = saved(taught(exported, ["a", "b", "c"], PROTOTYPES_DK, [3, 3, 3]), tmp_path / "taught.onnx")
    report = check(path)
    assert report.same_weights
    assert report.broken == ()
    assert report.parity.relative_error < 1e-5
    assert "prototypes of 3 classes (a, b, c), off by" in report.taught
    assert any("its head: cosines" in line for line in report.lines())
    given = check(path, against=tiny_resolved())
    assert given.same_weights
    assert given.broken == ()


def test_it_gives_cosines(exported, network, tmp_path):
    path = saved(taught(exported, ["a", "b", "c"], PROTOTYPES_DK, [3, 3, 3]), tmp_path / "taught.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run([SIMILARITY], {"image": pixels})
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (network.mean, network.std))
    with torch.inference_mode():
        features = network.model((torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std)
    np.testing.assert_allclose(found, normalize(features) @ torch.from_numpy(PROTOTYPES_DK), atol=1e-6)


def test_a_prototype_that_was_changed(exported, network, tmp_path):
    model = taught(exported, ["a", "b", "c"], PROTOTYPES_DK, [3, 3, 3])
    (tensor,) = (one for one in model.graph.initializer if one.name == INITIALISER)
    other = PROTOTYPES_DK.copy()
    other[0, 0] += 1e-3
    tensor.CopyFrom(numpy_helper.from_array(other, INITIALISER))
    with pytest.raises(LowzooError, match="not those that were taught"):
        check(saved(model, tmp_path / "changed.onnx"))


def test_a_head_that_computes_something_else(exported, network, tmp_path):
    """Its prototypes are those that were taught, and it does not multiply with unit vectors."""
    model = taught(exported, ["a", "b", "c"], PROTOTYPES_DK, [3, 3, 3])
    (unit,) = (node for node in model.graph.node if node.op_type == "LpNormalization")
    next(one for one in unit.attribute if one.name == "p").i = 1
    with pytest.raises(ParityError, match="off from the cosines with its prototypes"):
        check(saved(model, tmp_path / "changed.onnx"))


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", 3], None])
def test_names_that_are_not_those_of_the_head(exported, network, tmp_path, names):
    path = saved(taught(exported, names, PROTOTYPES_DK, [3, 3, 3]), tmp_path / "taught.onnx")
    with pytest.raises(LowzooError, match="does not name the 3 classes"):
        check(path)


def test_a_graph_without_the_head(exported, network, tmp_path):
    model = taught(exported, ["a", "b", "c"], PROTOTYPES_DK, [3, 3, 3])
    model.graph.node[-1].op_type = "Gemm"
    model.graph.node[-1].output[0] = "elsewhere"
    model.graph.output[0].name = "elsewhere"
    with pytest.raises(LowzooError, match="has no such head"):
        check(saved(model, tmp_path / "other.onnx"))


@pytest.mark.parametrize("precision", ["fp16", pytest.param("int8", marks=pytest.mark.slow)])
def test_bounds_of_a_precision_are_of_features(network, tmp_path, precision):
    """Three cosines would break them by rounding alone."""
    network = dataclasses.replace(network, trained=False)
    spec = ExportSpec(precision=precision, max_loss=MaxLoss(None, 0.9))
    path = write_artifact(network, spec, tmp_path / "tiny.onnx").path
    report = check(saved(taught(path, ["a", "b", "c"], PROTOTYPES_DK, [3, 3, 3]), tmp_path / "taught.onnx"))
    assert report.precision == precision
    assert report.broken == ()
    assert report.same_weights


def test_a_weight_that_was_changed(exported, network, tmp_path):
    model = taught(exported, ["a", "b", "c"], PROTOTYPES_DK, [3, 3, 3])
    tensor = max((one for one in model.graph.initializer if one.name != INITIALISER), key=lambda one: len(one.raw_data))
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] += 1.0
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    assert check(saved(model, tmp_path / "changed.onnx")).broken


def test_heads_that_are_none(exported, network, tmp_path):
    model = taught(exported, ["a", "b", "c"], PROTOTYPES_DK, [3, 3, 3])
    kept = [one for one in model.graph.initializer if one.name != INITIALISER]
    other = onnx.ModelProto.FromString(model.SerializeToString())
    del other.graph.initializer[:]
    other.graph.initializer.extend([*kept, numpy_helper.from_array(PROTOTYPES_DK, "renamed")])
    for node in other.graph.node:
        node.input[:] = ["renamed" if name == INITIALISER else name for name in node.input]
    with pytest.raises(LowzooError, match=f"holds no {INITIALISER}"):
        check(saved(other, tmp_path / "renamed.onnx"))
    wrong = taught(exported, ["a", "b", "c"], np.full((6, 3), np.nan, np.float32), [3, 3, 3])
    with pytest.raises(LowzooError, match="no finite float32"):
        check(saved(wrong, tmp_path / "nan.onnx"))


def test_a_head_of_another_network(exported, monkeypatch, tmp_path):
    class Narrow(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    path = saved(taught(exported, ["a", "b", "c"], PROTOTYPES_DK, [3, 3, 3]), tmp_path / "taught.onnx")
    with pytest.raises(LowzooError, match="of 6 features"):
        check(path, against=tiny_resolved(Narrow()))


def test_an_index_is_not_of_cosines(exported, network, tmp_path):
    path = saved(taught(exported, ["a", "b", "c"], PROTOTYPES_DK, [3, 3, 3]), tmp_path / "taught.onnx")
    with pytest.raises(LowzooError, match="is a classifier"):
        check([path, exported], cross=True)


def test_exporting_does_not_replace_what_was_taught(exported, tmp_path):
    """The settings of the file without its head are no longer its own."""
    path = saved(taught(exported, ["a", "b", "c"], PROTOTYPES_DK, [3, 3, 3]), tmp_path / "taught.onnx")
    with pytest.raises(LowzooError, match="exists and is another export"):
        write_artifact(tiny_resolved(), out=path)
    assert json.loads({note.key: note.value for note in onnx.load(path).metadata_props}["lowzoo.classes"]) == [
        "a",
        "b",
        "c",
    ]


def test_a_file_that_cannot_be_run(exported, network, tmp_path):
    model = taught(exported, ["a", "b", "c"], unit_columns(5, 3), [3, 3, 3])
    with pytest.raises((ParityError, LowzooError)):
        check(saved(model, tmp_path / "narrow.onnx"))
