"""A detector's ONNX file finds what the detector finds, and other formats are refused by name."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import lowzoo.evaluate
from lowzoo.base.errors import LowzooError
from lowzoo.base.next_line import commands_of
from lowzoo.cli.main import main
from lowzoo.detection.folder import load_detector, save_detector
from lowzoo.detection.network.detector import Detector
from lowzoo.detection.sets.opening import open_sets
from lowzoo.export import check, export
from lowzoo.export.detection.artifact import pictures_of
from lowzoo.export.detection.onnx_file import DetectorFile
from lowzoo.export.detection.parity import framed
from lowzoo.train.detection.loop import _keep_pictures
from tests.helpers.detection import TINY, drawn_set

pytest.importorskip("faster_coco_eval")


def _trained(place: Path, task: str, model: str) -> Path:
    data = drawn_set(place / "set")
    function = getattr(lowzoo.evaluate, task)
    # Nothing is learned in a step: a low threshold gives detections to be compared.
    words = [*TINY, "network.score_threshold=0.2"]
    function(
        model, data=data, folder=place / task, steps=1, batch_size=2, random_init=True, device="cpu", settings=words
    )
    return place / task


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory) -> Path:
    return _trained(tmp_path_factory.mktemp("run"), "segment", "test_efficientnet")


@pytest.mark.slow
def test_masks_boxes_and_classes_are_pytorchs(segmenter, tmp_path):
    found = export(segmenter, out=tmp_path / "m.onnx")
    assert found.parity.detections > 0
    assert found.parity.matched == 1.0
    assert found.parity.box_error < 0.01
    assert found.parity.mask_error < 1e-3
    assert found.outputs == {"boxes": (20, 4), "scores": (20,), "classes": (20,), "masks": (20, 28, 28)}
    notes = {each.key: each.value for each in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert json.loads(notes["lowzoo.classes"]) == ["disc", "square"]
    assert notes["lowzoo.suppression"] == "inside"
    assert "inside the graph" in str(found)
    assert json.loads(found.to_json())["run"] == str(segmenter)
    # The run lies elsewhere, and the line still finds it.
    (_, *words), _ = commands_of(str(found))
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    report = check(tmp_path / "m.onnx", against=segmenter)
    assert report.same_weights
    assert report.unchanged
    assert not report.broken
    saved_again = onnx.load(tmp_path / "m.onnx")
    saved_again.doc_string = "by another program"
    onnx.save(saved_again, tmp_path / "again.onnx")
    again = check(tmp_path / "again.onnx", against=segmenter)
    assert again.unchanged is False
    assert "CHANGED since its export" in str(again)
    for words in ({"knn": True}, {"head": "own"}, {"features": 1}):
        with pytest.raises(LowzooError, match="would have no effect"):
            check(tmp_path / "m.onnx", against=segmenter, **words)
    with pytest.raises(LowzooError, match="is no folder of a trained detector"):
        check(tmp_path / "m.onnx", against=tmp_path)
    shutil.copy(tmp_path / "m.onnx", tmp_path / "m2.onnx")
    with pytest.raises(LowzooError, match="is a detector, and an index is of features"):
        check([tmp_path / "m.onnx", tmp_path / "m2.onnx"], cross=True)
    facts = json.loads((segmenter / "detector.json").read_text())
    bare = shutil.copytree(segmenter, tmp_path / "bare")
    trained = load_detector(segmenter)
    boxes = Detector(trained.backbone, trained.detector.shape, len(facts["classes"]), masks=False)
    save_detector(bare, dataclasses.replace(trained, detector=boxes))
    with pytest.raises(LowzooError, match="gives masks, and bare does otherwise"):
        check(tmp_path / "m.onnx", against=bare)


@pytest.mark.slow
def test_the_code_that_is_printed_gives_boxes_in_pixels_of_the_photograph(segmenter, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = export(segmenter, out="m.onnx", size=(96, 128))
    random = np.random.default_rng(0).integers(0, 255, (40, 100, 3), np.uint8)
    Image.fromarray(random).save("photo.jpg", quality=100)
    pixels = np.asarray(Image.open("photo.jpg"))
    code = found.snippet.replace("score >= 0.5", "score > 0")
    assert all(f"  {line}".rstrip() in str(found).splitlines() for line in found.snippet.splitlines())
    exec(code, {})  # it is ours
    printed = np.array([line.split("[")[1].rstrip("]").split() for line in capsys.readouterr().out.splitlines()], float)
    size = (96, 128)
    given = DetectorFile(Path("m.onnx")).run(framed(pixels, size, load_detector(segmenter).backbone.mean))
    wanted = given["boxes"][given["scores"] > 0] * np.array([100 / 128, 40 / 51] * 2)
    assert len(wanted)
    np.testing.assert_allclose(printed, wanted, atol=1e-3)


def test_a_picture_that_cannot_be_read_is_not_kept_and_does_not_stop_an_export(segmenter, tmp_path):
    folder = shutil.copytree(segmenter, tmp_path / "run")
    whole = len(pictures_of(folder))
    (folder / "pictures" / "9.png").write_bytes(b"no picture")
    assert len(pictures_of(folder)) == whole
    data = open_sets(drawn_set(tmp_path / "set"), with_masks=False).test
    Path(data.source.where(0)).write_bytes(b"no picture")
    _keep_pictures(data, tmp_path / "kept")
    assert sorted(each.name for each in (tmp_path / "kept").iterdir()) == ["0.png", "1.png"]


@pytest.mark.slow
def test_a_vit_without_masks_with_suppression_outside(tmp_path):
    folder = _trained(tmp_path, "detect", "test_vit")
    found = export(folder, out=tmp_path / "out.onnx", nms="outside", size=(96, 128))
    assert found.outputs == {"boxes": (20, 2, 4), "scores": (20, 2)}
    assert found.parity.matched == 1.0
    assert found.parity.detections > 0
    assert "left to the app" in str(found)


@pytest.mark.parametrize("format", ["coreml", "executorch", "litert"])
def test_other_formats_are_refused_with_the_reason(segmenter, tmp_path, format):
    with pytest.raises(LowzooError, match="RoIAlign"):
        export(segmenter, format=format, out=tmp_path / "m")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"size": (100, 96)}, "multiples of 32 px"),
        ({"precision": "int8"}, "--precision fp32"),
        ({"batch": 2}, "--batch 1"),
        ({"nms": "outside"}, "suppression"),
        ({"head": "own"}, "classes of its own"),
        ({"unchecked": True}, "--unchecked would have no effect"),
        ({"calibration": "a"}, "--calibration would have no effect"),
    ],
)
def test_what_does_not_fit_a_detector_is_refused(segmenter, tmp_path, words, message):
    with pytest.raises(LowzooError, match=message):
        export(segmenter, out=tmp_path / "m.onnx", **words)


def test_suppression_is_a_word_for_detectors_alone():
    with pytest.raises(LowzooError, match="no detector"):
        export("rob_vit_tiny", nms="outside")


def test_pictures_are_framed_at_the_upper_left():
    pixels = np.full((50, 100, 3), 200, np.uint8)
    found = framed(pixels, (64, 64), (0.5, 0.5, 0.5))
    assert (found[:32] == 200).all()
    assert (found[32:] == 128).all()


@pytest.mark.slow
def test_bench_times_it(segmenter, tmp_path, capsys):
    export(segmenter, out=tmp_path / "m.onnx")
    with pytest.raises(SystemExit) as ended:
        main(["bench", str(tmp_path / "m.onnx"), "--quick", "--json"])
    assert ended.value.code == 0
    assert "median" in capsys.readouterr().out
