"""The certificate of an index: files of one network answer for one another, and one changed weight is found."""

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image
from torch import nn

import lowzoo
from lowzoo.base.errors import LowzooError
from lowzoo.cli.main import main
from lowzoo.export import ExportSpec, MaxLoss
from lowzoo.export import cross as cross_module
from lowzoo.export.artifact import write_artifact
from lowzoo.export.artifacts.seal import SEAL
from lowzoo.export.cross import cross
from lowzoo.export.functions import check
from tests.helpers.export import TinyNet, tiny_resolved

PICTURES = 96


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cross")
    return {
        precision: write_artifact(
            tiny_resolved(),
            ExportSpec(precision=precision, max_loss=MaxLoss(None, 0.9)),
            folder / f"{precision}.onnx",
        ).path
        for precision in ("fp32", "fp16", "int8")
    }


def with_one_weight_changed(path, out, by):
    """Add to the largest weight of the largest layer so many of the layer's standard deviations."""
    model = onnx.load(path)
    tensor = max(model.graph.initializer, key=lambda each: int(np.prod(each.dims)))
    values = numpy_helper.to_array(tensor).copy()
    values.flat[np.abs(values).argmax()] += by * values.std()
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, out)
    return out


def test_all_pairs_of_one_network(files):
    report = cross(list(files.values()), against=tiny_resolved(), images=PICTURES, bound=3)
    assert [one.label for one in report.members] == ["A", "B", "C", "D"]
    assert [one.precision for one in report.members] == ["fp32", "fp16", "int8", "fp32"]
    assert len(report.pairs) == 4 * 3
    assert not report.broken
    exact = report.pair("A", "D")
    assert exact.agreement == 1
    assert exact.min_cosine > 0.999999
    assert report.pair("A", "C").min_cosine < exact.min_cosine
    # A matrix that is not symmetric by construction: the bank's own queries stand on the diagonal.
    assert report.pair("A", "C").lost == pytest.approx(report.members[0].top1 - report.pair("A", "C").top1)
    document = json.loads(report.to_json())
    assert document["schema"] == "lowzoo.cross/1"
    text = str(report)
    assert "every pair keeps its bounds" in text
    assert "k-NN top-1 in % (row: bank, column: queries)" in text
    assert report._repr_html_().count("<table>") == 3


@pytest.mark.parametrize("by", [1e-6, 0.05, 1.0])
def test_one_changed_weight_is_found(files, tmp_path, by):
    changed = with_one_weight_changed(files["fp32"], tmp_path / "changed.onnx", by)
    report = cross([files["fp32"], changed, files["fp16"]], against=tiny_resolved(), images=PICTURES, bound=3)
    assert {frozenset((pair.bank, pair.queries)) for pair in report.broken} >= {frozenset("AB"), frozenset("BD")}
    assert "B (" in str(report).splitlines()[-1]
    assert "is in every broken pair" in str(report)


def test_a_weight_within_rounding_is_found_by_the_bytes_alone(files, tmp_path):
    same = with_one_weight_changed(files["fp32"], tmp_path / "same.onnx", 1e-6)
    report = cross([files["fp32"], same], images=PICTURES, bound=3)
    assert [one.unchanged for one in report.members] == [True, False]
    assert {pair.broken for pair in report.pairs} == {("B is not byte for byte what its export wrote",)}
    assert "same.onnx: fp32, onnxruntime" in str(report)
    assert "CHANGED since its export" in str(report)


def test_a_file_without_a_hash_is_said_to_have_none(files, tmp_path):
    model = onnx.load(files["fp32"])
    kept = [each for each in model.metadata_props if each.key != SEAL]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, tmp_path / "old.onnx")
    report = cross([files["fp32"], tmp_path / "old.onnx"], images=PICTURES, bound=3)
    assert not report.broken
    assert "Note: no hash of its bytes inside B" in str(report)


def test_a_lossy_pair_is_judged_by_the_points_it_loses(files):
    report = cross([files["fp32"], files["int8"]], images=PICTURES, bound=0)
    worse = [pair for pair in report.pairs if pair.lost > 0]
    assert list(report.broken) == worse


@pytest.mark.slow
def test_files_of_different_networks_are_refused(files, tmp_path):
    class Other(TinyNet):
        def __init__(self):
            super().__init__()
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    module.weight.data *= 1.5

    other = write_artifact(tiny_resolved(Other()), ExportSpec(), tmp_path / "other.onnx").path
    with pytest.raises(LowzooError, match=r"was made from weights sha256:.* says nothing to the other"):
        cross([files["fp32"], other], images=PICTURES)
    with pytest.raises(LowzooError, match="in PyTorch from"):
        cross([files["fp32"]], against=tiny_resolved(Other()), images=PICTURES)
    cut = write_artifact(tiny_resolved(crop_pct=0.8), ExportSpec(), tmp_path / "cut.onnx").path
    with pytest.raises(LowzooError, match=r"crop_pct 0\.9.*0\.8: they see different pictures"):
        cross([files["fp32"], cut], images=PICTURES)


def test_the_functions(files, monkeypatch):
    monkeypatch.setattr(cross_module, "KNN_PICTURES", PICTURES)
    report = lowzoo.export.cross_check([files["fp32"], str(files["fp16"])], bound=3)
    assert [one.label for one in report.members] == ["A", "B"]
    assert check([files["fp32"], files["fp16"]], cross=True, bound=3).pairs == report.pairs


def test_a_pair_with_itself_is_no_pair(files, tmp_path):
    with pytest.raises(LowzooError, match="named twice, and agrees with itself"):
        cross([files["fp32"], files["fp32"]], images=PICTURES)
    (tmp_path / "other.onnx").symlink_to(files["fp32"])
    with pytest.raises(LowzooError, match=r"other\.onnx is named twice \("):
        cross([files["fp32"], tmp_path / "other.onnx"], images=PICTURES)


def test_pictures_that_say_nothing_of_features_are_refused(files, tmp_path):
    def folder(name, classes):
        for i in range(12):
            place = tmp_path / name / f"class{i % classes}"
            place.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (20 * i, 90, 30)).save(place / f"{i}.png")
        return str(tmp_path / name)

    for classes, words in ((1, "are of one class"), (12, "are of a class each")):
        with pytest.raises(LowzooError, match=words):
            cross([files["fp32"], files["fp16"]], data=folder(f"of{classes}", classes), bound=0)


def test_a_precision_that_the_format_does_not_have_is_refused(files, tmp_path):
    model = onnx.load(files["fp16"])
    next(each for each in model.metadata_props if each.key == "lowzoo.precision").value = "fp15"
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(LowzooError, match=r"odd\.onnx says that its precision is 'fp15'"):
        cross([files["fp32"], tmp_path / "odd.onnx"], images=PICTURES)


def test_words_that_would_have_no_effect_are_refused(files):
    with pytest.raises(LowzooError, match="needs pairs"):
        check(files["fp32"], bound=2)
    with pytest.raises(LowzooError, match="of one file"):
        check([files["fp32"], files["fp16"]], cross=True, knn=True)


def test_the_command(files, capsys):
    with pytest.raises(LowzooError, match="Name two files"):
        check([files["fp32"]], cross=True)
    with pytest.raises(LowzooError, match=r"2 files .*add --cross"):
        check([files["fp32"], files["fp16"]])
    with pytest.raises(SystemExit) as caught:
        main(["check", str(files["fp32"]), str(files["int8"]), "--cross", "--bound", "101"])
    assert caught.value.code == 2
    assert "a bound of 101 points is impossible" in capsys.readouterr().err
