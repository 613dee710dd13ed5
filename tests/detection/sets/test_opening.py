"""Which files are trained and tested on: those that are named, and none in silence."""

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.detection.sets.opening import held_out, open_sets, open_test
from tests.helpers.detection import drawn_set

pytest.importorskip("faster_coco_eval")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return drawn_set(tmp_path_factory.mktemp("set"), train=6, val=4)


@pytest.fixture
def files(folder):
    return tuple(folder / "annotations" / f"instances_{part}.json" for part in ("train", "val"))


def test_a_file_after_data_is_trained_on_and_the_named_one_tested_on(files):
    found = open_sets(files[0], test_annotations=files[1], with_masks=False)
    assert (found.train.name, found.test.name) == ("instances_train", "instances_val")
    assert (len(found.train), len(found.test)) == (6, 4)


def test_the_folders_own_file_is_trained_on_where_only_the_other_is_named(folder, files):
    found = open_sets(folder, test_annotations=files[1], with_masks=False)
    assert (len(found.train), len(found.test)) == (6, 4)


def test_nothing_to_train_on_is_refused(files, tmp_path):
    with pytest.raises(LowzooError, match="nothing what to train on") as caught:
        open_sets(tmp_path, test_annotations=files[1], with_masks=False)
    assert caught.value.remedy == "Add --train-annotations"
    alone = drawn_set(tmp_path / "alone")
    (alone / "annotations" / "instances_train.json").unlink()
    only = alone / "annotations" / "instances_val.json"
    with pytest.raises(LowzooError, match="nothing what to train on"):
        open_sets(alone, test_annotations=only, with_masks=False)


def test_a_file_named_twice_is_refused(files):
    with pytest.raises(LowzooError, match="both name what to train on"):
        open_sets(files[0], train_annotations=files[1], with_masks=False)
    with pytest.raises(LowzooError, match="to train on and to test on"):
        open_sets(files[0], test_annotations=files[0], with_masks=False)
    with pytest.raises(LowzooError, match="both name what to test on"):
        open_test(files[0], test_annotations=files[1], with_masks=False)


@pytest.mark.parametrize("option", ["train_annotations", "test_annotations", "images"])
def test_files_beside_a_table_of_the_hub_are_refused(option):
    with pytest.raises(LowzooError, match=f"is a table, so --{option.replace('_', '-')} would not be looked at"):
        open_sets("hf:someone/some-set", **{option: "a"}, with_masks=False)


@pytest.mark.parametrize("option", ["test_annotations", "images"])
def test_files_beside_vocs_layout_are_refused(tmp_path, option):
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / part).mkdir(parents=True)
    with pytest.raises(LowzooError, match="has VOC's layout"):
        open_sets(tmp_path, **{option: "a"}, with_masks=False)


def test_a_trained_detector_is_tested_on_all_of_a_file(folder, files):
    assert len(open_test(files[0], with_masks=False)) == 6
    assert len(open_test(folder, with_masks=False)) == 4  # the part to test on
    assert len(open_test(folder, test_annotations=files[0], with_masks=True)) == 6


def test_what_was_held_out_of_a_training_is_known_again(files):
    parts, whole = open_sets(files[0], with_masks=True), open_test(files[0], with_masks=False)
    found = held_out(whole, parts.train.source.fingerprint())
    assert [each.number for each in found.images] == [each.number for each in parts.test.images]
    assert held_out(open_test(files[1], with_masks=False), parts.train.source.fingerprint()) is None
