"""What `lowzoo info` tells of a detector, and what says so where a backbone is asked for."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from lowzoo.base.errors import LowzooError
from lowzoo.detection.described import describe
from lowzoo.zoo.find import find
from tests.helpers.cli import runner

FACTS = {
    "backbone": {"name": "mine", "architecture": "resnet18", "revision": "sha256:12"},
    "shape": {"kind": "fpn", "strides": [8, 16]},
    "masks": True,
    "classes": ["disc", "cross"],
    "shorter": 128,
    "longest": 256,
}
run = runner("info")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "found"
    folder.mkdir()
    (folder / "detector.json").write_text(json.dumps(FACTS))
    save_file({"a": np.zeros((2, 3), np.float32)}, folder / "detector.safetensors")
    document = {
        "preset": "own",
        "settings": {"steps": 12, "batch_size": 16},
        "data": {"train": {"name": "t", "images": 400}, "test": {"name": "v", "images": 120}},
        "figures": [{"metric": "box AP50", "mean": 37.0}, {"metric": "mask AP50", "mean": 16.7}],
    }
    (folder / "evaluation.json").write_text(json.dumps(document))
    return folder


def test_what_it_is_and_what_it_is_worth(folder, capsys):
    code, text, _ = run(capsys, folder)
    assert code == 0
    for words in ("Mask R-CNN", "mine", "disc, cross", "1 tensors", "12 steps of 16 on t", "box AP50 37.0", "on v"):
        assert words in text
    code, text, _ = run(capsys, folder, "--json")
    assert json.loads(text)["architecture"] == "resnet18"


def test_before_its_training_has_ended(folder):
    for name in ("detector.safetensors", "evaluation.json"):
        (folder / name).unlink()
    assert describe(folder)["weights"].startswith("none yet")


@pytest.mark.parametrize(("name", "text"), [("detector.json", "{}"), ("evaluation.json", '{"preset": 1}')])
def test_damaged_files_are_named(folder, name, text):
    (folder / name).write_text(text)
    with pytest.raises(LowzooError, match=name):
        describe(folder)


def test_it_is_no_backbone(folder):
    with pytest.raises(LowzooError, match="holds a detector") as refused:
        find(str(folder), pretrained=True)
    assert "lowzoo export" in refused.value.remedy
