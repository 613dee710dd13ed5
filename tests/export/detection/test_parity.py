"""What breaks the parity of a detector's file, and what is said where there was nothing to compare."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from lowzoo.export.detection.artifact import _smaller
from lowzoo.export.detection.checking import _NOTHING, DetectorReport
from lowzoo.export.detection.parity import MOST_MASK_ERROR, DetectionParity, enforce
from lowzoo.export.spec.bounds import ParityError


def _parity(**more):
    facts = {"images": 2, "detections": 5, "file_detections": 5, "matched": 1.0, "box_error": 0.0, "score_error": 0.0}
    return DetectionParity(**{**facts, "mask_error": 0.0, "engine": "onnxruntime", **more})


def test_equal_detections_break_nothing():
    assert _parity().broken() == ()
    enforce(_parity(mask_error=None))


@pytest.mark.parametrize("error", [2 * MOST_MASK_ERROR, float("nan")])
def test_other_masks_are_refused(error):
    with pytest.raises(ParityError, match="probabilities of a mask"):
        enforce(_parity(mask_error=error))


def test_detections_of_the_file_alone_are_counted():
    parity = _parity(detections=0, matched=0.0)
    assert "of 5 detections" in parity.line()
    with pytest.raises(ParityError, match="PyTorch 0, the file 5"):
        enforce(parity)


def test_a_check_of_nothing_says_so_and_fails():
    parity = _parity(detections=0, file_detections=0)
    report = DetectorReport(Path("a.onnx"), "run", True, parity, (_NOTHING,))
    assert list(report.lines())[1:] == [
        "Parity: no detections in 2 pictures, neither in PyTorch nor in the file (onnxruntime)",
        "Note: nothing was detected, so nothing was compared; name pictures by --data",
    ]
    assert report.broken  # the exit status is 1


def test_a_square_that_shows_photographs_smaller_than_they_were_measured_is_told_with_the_numbers():
    shape = SimpleNamespace(divisor=32)
    trained = SimpleNamespace(detector=SimpleNamespace(shape=shape), shorter=96, longest=192)
    assert _smaller(trained, (96, 96)) == (
        "a lying picture of 4:3 is seen at 72 x 96 pixels, and AP was measured at 96 x 128; for such pictures export "
        "with --size 96x128"
    )
    assert "an upright picture" in _smaller(trained, (96, 128))
    assert _smaller(trained, (128, 128)) == ""
