"""From names to splits and classes, and what a folder says about itself."""

import os

import pytest
from PIL import Image

from lowzoo.base.errors import LowzooError
from lowzoo.data.labels.layout import arrange
from lowzoo.data.labels.split_names import split_of_folder
from lowzoo.data.source import open_set, open_source, split_names
from lowzoo.io import marks


def picture(path, shade=9):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), shade).save(path)


def arranged(*names):
    splits, notes = arrange(names, "data")
    described = {}
    for split, part in splits.items():
        classes = part.class_names or ()
        labels = [""] * len(part.indices) if part.labels is None else [(*classes, None)[i] for i in part.labels]
        described[split] = {names[i]: label for i, label in zip(part.indices.tolist(), labels, strict=True)}
    return described, notes


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *((name, "train") for name in ("train", "Train", "TRAIN", "training", "Training", "train_set", "trainset")),
        *((name, "train") for name in ("TrainSet", "train-images", "Training Data", "train2017", "trn", "trainval")),
        *((name, "validation") for name in ("val", "Val", "valid", "validation", "Validation set", "dev", "val2017")),
        *((name, "validation") for name in ("eval", "evaluation", "holdout", "hold-out", "Hold Out", "val_images")),
        *((name, "test") for name in ("test", "Test", "testing", "Testing", "test_set", "testset", "tests", "tst")),
        *((name, None) for name in ("trains", "cat", "valley", "testudo", "training wheels", "train 1", "images", "")),
        *((name, None) for name in ("evaluate me", "developer", "1998", "set", "tr")),
    ],
)
def test_spellings_of_splits(name, split):
    assert split_of_folder(name) == split


@pytest.mark.parametrize(("one", "other"), [("Training", "Testing"), ("TRAIN", "TEST"), ("train_set", "test_set")])
def test_splits_in_other_spellings_are_no_classes(one, other):
    found, notes = arranged(f"{one}/cat/1.jpg", f"{one}/dog/2.jpg", f"{other}/cat/3.jpg")
    assert found == {
        "train": {f"{one}/cat/1.jpg": "cat", f"{one}/dog/2.jpg": "dog"},
        "test": {f"{other}/cat/3.jpg": "cat"},
    }
    assert notes == []


def test_validation_and_test_alone_are_splits():
    found, _ = arranged("val/a/1.jpg", "test/a/2.jpg")
    assert list(found) == ["validation", "test"]


def test_two_folders_for_one_split_are_refused():
    with pytest.raises(LowzooError, match=r"val/, valid/ of data all mean the split validation"):
        arranged("train/a/1.jpg", "val/a/2.jpg", "valid/a/3.jpg")


def test_what_lies_beside_splits_is_said():
    found, notes = arranged("train/a/1.jpg", "val/a/2.jpg", "extra/a/3.jpg", "cover.jpg")
    assert {split: list(names) for split, names in found.items()} == {
        "train": ["train/a/1.jpg"],
        "validation": ["val/a/2.jpg"],
    }
    assert "in no split: 1 picture in extra/" in notes[0]
    assert "cover.jpg" in notes[1]


@pytest.mark.parametrize("names", [("train", "bus"), ("fold1", "fold2"), ("query", "gallery"), ("test_a", "other")])
def test_classes_that_look_like_splits_are_said(names):
    found, notes = arranged(*(f"{name}/{i}.jpg" for name in names for i in range(2)))
    assert list(found) == ["train"]
    assert any("taken for classes" in note and names[0] in note for note in notes)


def test_a_stray_picture_leaves_the_labels():
    found, notes = arranged("cover.jpg", *(f"{name}/{i}.jpg" for name in ("cat", "dog") for i in range(3)))
    assert found["train"]["cover.jpg"] is None
    assert found["train"]["cat/0.jpg"] == "cat"
    assert "cover.jpg" in notes[0]


def test_a_flat_folder_with_some_sub_folder_has_no_labels_and_says_so():
    found, notes = arranged("1.jpg", "2.jpg", "3.jpg", "more/4.jpg")
    assert set(found["train"].values()) == {""}
    assert "without classes" in notes[0]


def test_a_wrapper_is_no_class():
    found, notes = arranged("flowers/rose/1.jpg", "flowers/tulip/2.jpg")
    assert found["train"] == {"flowers/rose/1.jpg": "rose", "flowers/tulip/2.jpg": "tulip"}
    assert "flowers" in notes[0]
    found, _ = arranged("a/b/train/x/1.jpg", "a/b/val/x/2.jpg")
    assert list(found) == ["train", "validation"]
    found, _ = arranged("cat/1.jpg", "cat/2.jpg")
    assert set(found["train"].values()) == {"cat"}
    found, _ = arranged("images/1.jpg", "images/2.jpg")
    assert set(found["train"].values()) == {""}


def test_each_folder_is_read_once_however_links_lead(tmp_path):
    for i in range(5):
        picture(tmp_path / "data" / "cat" / f"{i}.png", i)
    picture(tmp_path / "outside" / "dog" / "9.png")
    (tmp_path / "data" / "cat" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data" / "cat")
    (tmp_path / "data" / "x").symlink_to(tmp_path / "data" / "y")
    (tmp_path / "data" / "y").symlink_to(tmp_path / "data" / "x")
    (tmp_path / "data" / "dog").symlink_to(tmp_path / "outside" / "dog")
    (tmp_path / "data" / "dog2").symlink_to(tmp_path / "outside" / "dog")
    source = open_source(tmp_path / "data")
    assert len(source) == 6
    assert source.class_names == ("cat", "dog")
    assert source.found.left_out == (("broken links", 2),)
    assert any("3 links lead to folders that are read anyway" in note for note in source.found.notes)


def test_a_picture_behind_a_link_is_read(tmp_path):
    picture(tmp_path / "real.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "real.png")
    assert len(open_source(tmp_path / "data")) == 1


def test_pictures_by_any_extension_and_by_content(tmp_path):
    for name, format in {
        "a.JPG": "JPEG",
        "b.jfif": "JPEG",
        "c.Tiff": "TIFF",
        "d.avif": "AVIF",
        "e.pnm": "PPM",
        "no_extension": "PNG",
        "dotted.name.12": "GIF",
        "f.webp": "WEBP",
        "g.jp2": "JPEG2000",
        "h.tga": "TGA",
        "i.qoi": "QOI",
    }.items():
        try:
            Image.new("RGB", (8, 8), (5, 90, 200)).save(tmp_path / name, format)
        except (KeyError, OSError):
            continue
    written = len(list(tmp_path.iterdir()))
    assert written >= 8
    for name, text in {"notes.txt": "x", "LICENSE": "words", "labels.csv": "a,b", ".hidden.jpg": "h"}.items():
        (tmp_path / name).write_text(text)
    os.mkfifo(tmp_path / "pipe.jpg")
    source = open_source(tmp_path)
    assert len(source) == written
    for index in range(written):
        assert abs(int(source.pixels(index)[4, 4, 2]) - 200) < 12
    assert dict(source.found.left_out) == {
        ".txt": 1,
        ".csv": 1,
        "without an extension": 1,
        "hidden": 1,
        "pipes, sockets or devices": 1,
    }
    assert source.found.files == written + 5
    assert f"Found: {written + 5} files, {written} pictures; left out:" in source.found.lines()[0]


def test_postscript_is_not_handed_to_another_program(tmp_path):
    from lowzoo.data.pixels.decode import BadImage

    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(BadImage, match="no known image format"):
        open_source(tmp_path).pixels(0)


def test_what_lowzoo_wrote_is_left_out(tmp_path):
    for i in range(4):
        picture(tmp_path / "cat" / f"{i}.png", i)
    from PIL.PngImagePlugin import PngInfo

    fields = PngInfo()
    for key, value in marks.PNG_FIELDS.items():
        fields.add_text(key, value)
    Image.new("RGB", (9, 9)).save(tmp_path / "sheet.png", pnginfo=fields)
    picture(tmp_path / "runs" / "rob-vit_tiny" / "curves.png")
    for name in ("config.toml", "metrics.jsonl"):
        (tmp_path / "runs" / "rob-vit_tiny" / name).write_text("")
    source = open_source(tmp_path)
    assert len(source) == 4
    assert source.class_names == ("cat",)
    assert dict(source.found.left_out) == {"written by lowzoo": 1}
    assert any("runs/rob-vit_tiny" in note for note in source.found.notes)


def test_a_table_of_embeddings_does_not_stand_for_the_pictures(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    picture(tmp_path / "a.png")
    table = pyarrow.table({"path": ["a.png"], "vector": [[1.0, 2.0]]})
    parquet.write_table(table.replace_schema_metadata({"lowzoo": "{}"}), tmp_path / "emb.parquet")
    source = open_source(tmp_path)
    assert len(source) == 1
    assert dict(source.found.left_out) == {"written by lowzoo": 1}
    parquet.write_table(pyarrow.table({"x": [1]}), tmp_path / "numbers.parquet")
    assert dict(open_source(tmp_path).found.left_out) == {"written by lowzoo": 1, ".parquet": 1}


def test_an_open_set_names_its_splits(tmp_path):
    picture(tmp_path / "Training" / "a" / "1.png")
    picture(tmp_path / "Testing" / "a" / "1.png")
    assert split_names(tmp_path) == ("train", "test")
    with pytest.raises(LowzooError, match="no split 'validation'"):
        open_set(tmp_path).open("validation")


def test_class_numbers_are_compared_by_name(tmp_path):
    for name in ("ant", "bee", "cat"):
        picture(tmp_path / "train" / name / "1.png")
    picture(tmp_path / "val" / "bee" / "2.png")
    picture(tmp_path / "val" / "dog" / "3.png")
    train, validation = open_source(tmp_path), open_source(tmp_path, "validation")
    assert validation.labels.tolist() == [0, 1]
    assert validation.numbered_like(train).labels.tolist() == [1, -1]
    assert validation.numbered_like(train).labelled().labels.tolist() == [1]
