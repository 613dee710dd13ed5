"""What is said where a score would mean less than it seems: the same pictures in both parts, classes in one of them."""

import json
import shutil

import pytest
from PIL import Image

from lowzoo.base.errors import LowzooError
from lowzoo.detection.sets import masks
from lowzoo.detection.sets.opening import open_sets
from tests.helpers.detection import drawn_set

pytest.importorskip("faster_coco_eval")


def _apart(folder):
    """A set whose empty image, too, is in one part alone."""
    drawn_set(folder)
    Image.new("RGB", (96, 96), (1, 2, 3)).save(folder / "val" / "4.png")
    return folder


def test_two_parts_that_share_nothing_have_no_remark(tmp_path):
    assert not [note for note in open_sets(_apart(tmp_path), with_masks=False).test.notes if "AP" in note]


def test_pictures_of_both_parts_are_counted(tmp_path):
    folder = _apart(tmp_path)
    for name in ("1.png", "2.png"):
        shutil.copy(folder / "train" / name, folder / "val" / name)
    (note,) = (note for note in open_sets(folder, with_masks=False).test.notes if "trained on too" in note)
    assert note.startswith("2 of the 4 images are trained on too, byte for byte")


def test_a_class_without_an_object_to_train_on_is_named(tmp_path):
    folder = drawn_set(tmp_path)
    file = folder / "annotations" / "instances_train.json"
    document = json.loads(file.read_text())
    document["annotations"] = [each for each in document["annotations"] if each["category_id"] == 3]
    file.write_text(json.dumps(document))
    (note,) = (note for note in open_sets(folder, with_masks=False).test.notes if "to train on" in note)
    assert note == "1 class has no object to train on, and AP counts what cannot be found there: square"


def test_a_polygon_far_beyond_its_image_is_refused():
    near, far = [[0, 0, 90, 0, 90, 90]], [[0, 0, 1e9, 0, 90, 90]]
    assert masks.fault_of(near, 64, 64) == ""
    assert "far beyond its image" in masks.fault_of(far, 64, 64)


def test_pictures_of_another_size_are_counted_at_the_door(tmp_path):
    folder = drawn_set(tmp_path)
    for name in ("1.png", "2.png"):
        Image.new("RGB", (96, 95)).save(folder / "val" / name)
    with pytest.raises(LowzooError, match=r"^2 of the 4 images of .*instances_val\.json .*1\.png is 96 x 95 pixels"):
        open_sets(folder, with_masks=False)
