"""VOC's layout and tables of `datasets`, and what is said of damaged ones."""

import io
from pathlib import Path

import pytest
from PIL import Image

from lowzoo.base.errors import LowzooError
from lowzoo.detection.sets.opening import open_sets
from lowzoo.detection.sets.voc import CLASSES

pytest.importorskip("faster_coco_eval")

OBJECT = (
    "<object><name>{name}</name><difficult>{hard}</difficult><bndbox><xmin>{0}</xmin><ymin>{1}</ymin>"
    "<xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"
)
FILE = "<annotation><size><width>64</width><height>48</height><depth>3</depth></size>{}</annotation>"


@pytest.fixture
def voc(tmp_path: Path):
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / part).mkdir(parents=True)
    for name in ("a", "b", "c"):
        objects = OBJECT.format(11, 6, 30, 25, name="cat", hard=0) + OBJECT.format(1, 1, 64, 48, name="dog", hard=1)
        (tmp_path / "Annotations" / f"{name}.xml").write_text(FILE.format(objects))
        Image.new("RGB", (64, 48), (90, 90, 90)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
    (tmp_path / "ImageSets" / "Main" / "trainval.txt").write_text("a\nb\n")
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("c\n")
    return tmp_path


def test_voc_boxes_count_from_one_with_both_ends_inside(voc):
    found = open_sets(voc, with_masks=False)
    assert (len(found.train), len(found.test)) == (2, 1)
    first = found.train.images[0]
    assert first.boxes[0].tolist() == [10, 5, 30, 25]
    assert first.boxes[1].tolist() == [0, 0, 64, 48]
    assert first.crowd.tolist() == [False, True]
    assert first.objects.tolist() == [0, 1]  # difficult ones are trained on, and not counted
    assert found.train.class_names[7] == "cat"
    assert len(found.train.class_names) == 20


def test_pictures_of_a_folder_that_is_named_from_here_are_read(voc, monkeypatch):
    monkeypatch.chdir(voc.parent)
    for part in (found := open_sets(voc.name, with_masks=False)).train, found.test:
        assert {part.source.pixels(i).shape for i in range(len(part))} == {(48, 64, 3)}
    Image.new("RGB", (64, 40)).save(voc / "JPEGImages" / "c.jpg")
    with pytest.raises(LowzooError, match=r"c\.jpg is 64 x 40 pixels, and its annotations are for 64 x 48"):
        open_sets(voc.name, with_masks=False)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_of_voc_as_other_editors_save_them(voc, encoding):
    (voc / "ImageSets" / "Main" / "trainval.txt").write_bytes("a  1\r\n\r\nb -1 \r\n".encode(encoding))
    found = open_sets(voc, with_masks=False)
    assert (len(found.train), len(found.test)) == (2, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("<annotation><size>", "is no XML"),
        ("<annotation/>", "does not say the size"),
        (FILE.format("<object><name>cat</name></object>"), "without bndbox"),
        (FILE.format(OBJECT.format("x", 1, 2, 3, name="cat", hard=0)), "xmin = 'x'"),
        (FILE.format(OBJECT.format(9, 1, 2, 3, name="cat", hard=0)), "negative size"),
        (FILE.format("<object><bndbox/></object>"), "without name"),
    ],
)
def test_a_damaged_file_of_voc_is_one_line(voc, text, words):
    (voc / "Annotations" / "b.xml").write_text(text)
    with pytest.raises(LowzooError) as caught:
        open_sets(voc, with_masks=False)
    assert words in str(caught.value)
    assert "b.xml" in str(caught.value)


def test_an_incomplete_download_is_told_by_name(voc):
    (voc / "JPEGImages" / "c.jpg").unlink()
    with pytest.raises(LowzooError, match=r"1 of the 1 files in JPEGImages .* c\.jpg"):
        open_sets(voc, with_masks=False)


def test_pictures_of_other_kinds_are_found_beside_their_annotations(voc):
    (voc / "JPEGImages" / "c.jpg").unlink()
    Image.new("RGB", (64, 48), (90, 90, 90)).save(voc / "JPEGImages" / "c.png")
    assert open_sets(voc, with_masks=False).test.source.pixels(0).shape == (48, 64, 3)


def test_a_class_beside_vocs_own_is_one_more(voc):
    names = [*CLASSES, "drone"]
    objects = "".join(OBJECT.format(11, 6, 30, 25, name=name, hard=0) for name in CLASSES)
    (voc / "Annotations" / "a.xml").write_text(FILE.format(objects))
    (voc / "Annotations" / "c.xml").write_text(FILE.format(OBJECT.format(11, 6, 30, 25, name="drone", hard=0)))
    found = open_sets(voc, with_masks=False)
    assert found.train.class_names == found.test.class_names == tuple(sorted(names))
    assert found.test.class_names[found.test.images[0].labels[0] - 1] == "drone"


def test_voc_has_no_masks(voc):
    with pytest.raises(LowzooError, match="boxes and no masks"):
        open_sets(voc, with_masks=True)


def _encoded(size, colour, orientation):
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.new("RGB", size, colour).save(file, "JPEG", exif=exif)
    return {"bytes": file.getvalue(), "path": None}


def _table(folder: Path, objects, orientation=1):
    datasets = pytest.importorskip("datasets")
    from datasets import ClassLabel, Features, Sequence, Value

    pictures = [_encoded((40, 30), (10 * i, 90, 90), orientation) for i in range(len(objects))]
    inside = {"bbox": Sequence(Sequence(Value("float32"))), "category": Sequence(ClassLabel(names=["cat", "dog"]))}
    if "iscrowd" in objects[0]:
        inside |= {"iscrowd": Sequence(Value("int64")), "area": Sequence(Value("float32"))}
    features = Features({"image": datasets.Image(), "objects": inside})
    made = datasets.Dataset.from_dict({"image": pictures, "objects": objects}, features=features)
    datasets.DatasetDict({"train": made, "validation": made}).save_to_disk(str(folder))


def test_a_table_of_datasets(tmp_path):
    _table(tmp_path / "set", [{"bbox": [[1, 2, 10, 12]], "category": [1]}, {"bbox": [], "category": []}])
    found = open_sets(tmp_path / "set", with_masks=False)
    assert found.train.class_names == ("cat", "dog")
    assert found.train.images[0].boxes.tolist() == [[1, 2, 11, 14]]
    assert found.train.images[0].labels.tolist() == [2]
    assert (found.train.images[1].height, found.train.images[1].width) == (30, 40)
    assert found.train.source.pixels(1).shape == (30, 40, 3)


def test_a_table_with_a_bad_box_is_told_by_row(tmp_path):
    _table(tmp_path / "set", [{"bbox": [[1, 2, -10, 12]], "category": [1]}])
    with pytest.raises(LowzooError, match="row 0"):
        open_sets(tmp_path / "set", with_masks=False)


def test_a_table_of_corners_is_refused(tmp_path):
    corners = [[20, 15, 35, 28], [5, 4, 12, 12]]
    _table(tmp_path / "set", [{"bbox": corners, "category": [1, 0]}])
    with pytest.raises(LowzooError, match=r"1 of the 2 boxes .* lie inside as corners") as caught:
        open_sets(tmp_path / "set", with_masks=False)
    assert "subtract" in caught.value.remedy


def test_pictures_that_a_camera_turned_have_the_sides_of_their_pixels(tmp_path):
    _table(tmp_path / "set", [{"bbox": [[1, 2, 10, 35]], "category": [1]}], orientation=6)
    found = open_sets(tmp_path / "set", with_masks=False)
    assert (found.train.images[0].height, found.train.images[0].width) == (40, 30)
    assert found.train.source.pixels(0).shape == (40, 30, 3)
    assert found.train.images[0].boxes.tolist() == [[1, 2, 11, 37]]


def test_crowds_and_areas_of_a_table_are_its_own(tmp_path):
    boxes = {"bbox": [[1, 2, 10, 12], [0, 0, 5, 5]], "category": [1, 0], "iscrowd": [0, 1], "area": [60.0, 25.0]}
    _table(tmp_path / "set", [boxes])
    first = open_sets(tmp_path / "set", with_masks=False).train.images[0]
    assert first.crowd.tolist() == [False, True]
    assert first.areas.tolist() == [60, 25]
    _table(tmp_path / "bad", [{**boxes, "area": [-1.0, 25.0]}])
    with pytest.raises(LowzooError, match=r"row 0 .*the area -1\.0"):
        open_sets(tmp_path / "bad", with_masks=False)
    _table(tmp_path / "odd", [{**boxes, "iscrowd": [2, 0]}])
    with pytest.raises(LowzooError, match=r"row 0 .*iscrowd = 2, which is neither 0 nor 1"):
        open_sets(tmp_path / "odd", with_masks=False)
    _table(tmp_path / "none", [{**boxes, "area": [None, 25.0]}])
    assert open_sets(tmp_path / "none", with_masks=False).train.images[0].areas.tolist() == [120, 25]
