"""COCO's layout: what is read, and that each kind of damage is one line that names the file."""

import copy
import json

import numpy as np
import pytest
from PIL import Image

from lowzoo.base.errors import LowzooError
from lowzoo.detection.sets import masks
from lowzoo.detection.sets.agreement import stored_size
from lowzoo.detection.sets.coco import read_coco
from lowzoo.detection.sets.opening import open_sets
from tests.helpers.detection import drawn_set, part, write_annotations

pytest.importorskip("faster_coco_eval")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    return folder, part(folder / "images", 3, 96, crowd=True)


def test_reads_boxes_masks_crowds_and_numbers_with_gaps(good, tmp_path):
    folder, document = good
    data = read_coco(write_annotations(tmp_path / "a.json", document), folder / "images", with_masks=True)
    assert data.class_names == ("disc", "square")
    assert data.category_ids == (3, 7)
    first = data.images[0]
    assert first.labels.tolist() == [2, 1, 1]
    assert first.crowd.tolist() == [False, False, True]
    assert data.objects == 4
    assert len(data.images[2].labels) == 0
    assert len(data.with_objects()) == 2
    square = masks.draw(first.segments[0], (96, 96))
    x, y, side, _ = document["annotations"][0]["bbox"]
    assert square.sum() == pytest.approx(side * side, rel=0.1)
    assert square[y + side // 2, x + side // 2]
    assert masks.draw(first.segments[1], (96, 96)).sum() == document["annotations"][1]["area"]


def test_packed_run_lengths_are_read_as_plain_ones(good):
    _, document = good
    for each in document["annotations"][1:4:2]:
        plain = masks.draw(each["segmentation"], (96, 96))
        packed = masks.encode(plain)
        assert masks.fault_of(packed, 96, 96) == ""
        assert np.array_equal(masks.draw(packed, (96, 96)), plain)


def test_polygons_and_run_lengths_are_drawn_at_other_sizes(good):
    _, document = good
    for each in document["annotations"][:2]:
        whole = masks.draw(each["segmentation"], (96, 96))
        half = masks.draw(each["segmentation"], (96, 96), (48, 48))
        assert half.shape == (48, 48)
        assert 4 * half.sum() == pytest.approx(whole.sum(), rel=0.15)


def test_boxes_beyond_the_image_are_clipped_and_said(good, tmp_path):
    folder, document = copy.deepcopy(good)
    document["annotations"][0]["bbox"] = [80, 80, 40, 40]
    document["annotations"][1]["bbox"] = [120, 10, 20, 20]
    data = read_coco(write_annotations(tmp_path / "a.json", document), folder / "images", with_masks=False)
    assert data.images[0].boxes[0].tolist() == [80, 80, 96, 96]
    assert data.objects == 3
    assert any("1 boxes reach beyond" in note for note in data.notes)
    assert any("1 boxes are empty or lie outside" in note for note in data.notes)


def _broken(change):
    def apply(document):
        changed = copy.deepcopy(document)
        change(changed)
        return json.dumps(changed)

    return apply


def _set(*path, value):
    def change(document):
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return _broken(change)


FAULTS = {
    "empty file": (lambda d: "", "is empty"),
    "cut short": (lambda d: json.dumps(d)[:200], "cut short"),
    "a list": (lambda d: "[]", "holds no object"),
    "no categories": (_broken(lambda d: d.pop("categories")), "holds no categories"),
    "no images": (_set("images", value=[]), "lists no images"),
    "images of another kind": (_set("images", value={}), "images of"),
    "image twice": (_broken(lambda d: d["images"].append(d["images"][0])), "id of another one"),
    "file twice": (_broken(lambda d: d["images"].append({**d["images"][0], "id": 99})), "images twice"),
    "no file name": (_broken(lambda d: d["images"][1].pop("file_name")), "has no file_name"),
    "missing image": (_set("images", 1, "file_name", value="gone.png"), "gone.png"),
    "size of nothing": (_set("images", 1, "width", value=0), "width = 0"),
    "category twice": (_broken(lambda d: d["categories"].append(d["categories"][0])), "of another one"),
    "unknown image": (_set("annotations", 0, "image_id", value=5), "belongs to image 5"),
    "unknown category": (_set("annotations", 0, "category_id", value=5), "category 5"),
    "box of three": (_set("annotations", 0, "bbox", value=[1, 2, 3]), "not four numbers"),
    "box of words": (_set("annotations", 0, "bbox", value=["a", 2, 3, 4]), "not four numbers"),
    "box of nothing": (_broken(lambda d: d["annotations"][0].pop("bbox")), "not four numbers"),
    "negative box": (_set("annotations", 0, "bbox", value=[1, 2, -3, 4]), "negative size"),
    "not a number": (_set("annotations", 0, "bbox", value=[float("nan"), 2, 3, 4]), "not four numbers"),
    "annotation twice": (_broken(lambda d: d["annotations"].append(d["annotations"][0])), "id of another one"),
    "half a point": (_set("annotations", 0, "segmentation", value=[[1, 2, 3, 4, 5, 6, 7]]), "polygon of 7 numbers"),
    "line": (_set("annotations", 0, "segmentation", value=[[1, 2, 3, 4]]), "polygon of 4 numbers"),
    "no mask": (_broken(lambda d: d["annotations"][0].pop("segmentation")), "segmentation"),
    "other run lengths": (_set("annotations", 1, "segmentation", "size", value=[5, 5]), "run lengths of size"),
    "short run lengths": (_set("annotations", 1, "segmentation", "counts", value=[5, 5]), "10 pixels"),
    "packed run lengths cut short": (_set("annotations", 1, "segmentation", "counts", value="Rl4"), "run lengths"),
    "letters that pack nothing": (_set("annotations", 1, "segmentation", "counts", value="\x01 \xff"), "run lengths"),
    "annotation of a list": (_set("annotations", 0, "id", value=[1]), "id = [1]"),
    "image of a list": (_set("annotations", 0, "image_id", value=[10]), "image_id = [10]"),
    "category of an object": (_set("annotations", 0, "category_id", value={}), "category_id = {}"),
    "area that is no number": (_set("annotations", 0, "area", value=float("nan")), "area = nan"),
    "negative area": (_set("annotations", 0, "area", value=-1), "area = -1"),
    "area of words": (_set("annotations", 0, "area", value="12"), "area = '12'"),
    "box beyond all numbers": (_set("annotations", 0, "bbox", value=[0, 0, 10**400, 4]), "not four numbers"),
    "polygon of all memory": (
        _set("annotations", 0, "segmentation", value=[[0, 0, 1e9, 0, 9, 9]]),
        "far beyond",
    ),
    "polygon beyond numbers": (
        _set("annotations", 0, "segmentation", value=[[0, 0, 10**400, 0, 9, 9]]),
        "else than",
    ),
    "other size than the picture": (_set("images", 2, "width", value=97), "another size than their annotations"),
    "crowd of many": (_set("annotations", 0, "iscrowd", value=7), "iscrowd = 7"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_one_line_with_the_file(good, tmp_path, name):
    folder, document = good
    make, words = FAULTS[name]
    file = tmp_path / "bad.json"
    file.write_text(make(document))
    with pytest.raises(LowzooError) as caught:
        read_coco(file, folder / "images", with_masks=True)
    message = str(caught.value)
    assert words in message
    assert "bad.json" in message
    assert "\n" not in message


def test_a_folder_is_opened_by_its_layout(tmp_path):
    found = open_sets(drawn_set(tmp_path / "set"), with_masks=True)
    assert (len(found.train), len(found.test)) == (6, 4)
    assert found.train.fingerprint() != found.test.fingerprint()


def test_without_a_part_to_test_on_a_fifth_is_held_out(tmp_path):
    part(tmp_path / "images", 10, 96)
    write_annotations(tmp_path / "annotations.json", part(tmp_path / "images", 10, 96))
    found = open_sets(tmp_path, with_masks=False)
    again = open_sets(tmp_path, with_masks=False)
    assert (len(found.train), len(found.test)) == (8, 2)
    assert [i.number for i in found.test.images] == [i.number for i in again.test.images]
    assert not {i.number for i in found.test.images} & {i.number for i in found.train.images}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda place: place, "holds no annotations"),
        (lambda place: place / "nowhere", "there is no"),
    ],
)
def test_a_folder_of_something_else_is_refused(tmp_path, make, words):
    with pytest.raises(LowzooError, match=words):
        open_sets(make(tmp_path), with_masks=False)


def test_parts_of_other_classes_are_refused(tmp_path):
    drawn_set(tmp_path)
    file = tmp_path / "annotations" / "instances_val.json"
    document = json.loads(file.read_text())
    document["categories"][0]["name"] = "ball"
    file.write_text(json.dumps(document))
    with pytest.raises(LowzooError, match="ball, disc"):
        open_sets(tmp_path, with_masks=False)


def test_the_fingerprint_is_of_boxes_too(good, tmp_path):
    folder, document = copy.deepcopy(good)
    one = read_coco(write_annotations(tmp_path / "a.json", document), folder / "images", with_masks=False)
    document["annotations"][0]["bbox"][0] += 1
    other = read_coco(write_annotations(tmp_path / "b.json", document), folder / "images", with_masks=False)
    assert one.fingerprint() != other.fingerprint()
    assert np.array_equal(one.images[1].boxes, other.images[1].boxes)


def test_corners_are_refused(good, tmp_path):
    folder, document = copy.deepcopy(good)
    for each in document["annotations"]:
        x, y, width, height = each["bbox"]
        each["bbox"] = [x, y, x + width, y + height]
    with pytest.raises(LowzooError, match=r"a\.json leave their image .* lie inside as corners"):
        read_coco(write_annotations(tmp_path / "a.json", document), folder / "images", with_masks=False)


def test_a_size_that_is_not_written_is_that_of_the_turned_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    assert stored_size(tmp_path / "a.jpg") == (40, 30)
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    assert stored_size(tmp_path / "a.png") == (30, 40)
