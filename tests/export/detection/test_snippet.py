"""The printed Python is run as it is: boxes come back in the photograph's own pixels."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lowzoo.export.detection.snippet import detector_snippet


@pytest.mark.parametrize(("suppressed", "masks"), [(True, True), (True, False), (False, False)])
def test_boxes_are_in_pixels_of_the_photograph(tmp_path, monkeypatch, capsys, suppressed, masks):
    Image.new("RGB", (200, 100), (200, 10, 10)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    seen = []

    class Session:
        def __init__(self, file):
            assert file == "det.onnx"

        def run(self, _, feeds):
            seen.append(feeds["image"])
            boxes = np.array([[0, 0, 32, 32], [1, 1, 2, 2]], np.float32)
            if not suppressed:
                return boxes[:, None].repeat(2, 1), np.array([[0.1, 0.9], [0.2, 0.1]], np.float32)
            found = [boxes, np.array([0.9, 0.1], np.float32), np.array([1, 0])]
            return [*found, np.zeros((2, 28, 28), np.float32)] if masks else found

    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Session))
    exec(detector_snippet("det.onnx", (64, 64), (0.5, 0.5, 0.5), suppressed=suppressed, masks=masks), {})
    (image,) = seen
    assert image.shape == (1, 64, 64, 3)
    assert image[0, 10, 10].tolist() != image[0, 50, 10].tolist()
    assert image[0, 50, 10].tolist() == [128, 128, 128]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("1 0.8")
    assert "100." in line
