"""The word SRC: folders with and without classes and splits, and what is refused at the door."""

import os
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.source import open_source, split_names


def picture(path, colour=(9, 9, 9)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), colour).save(path)


def test_class_folders_give_labels(tmp_path):
    for name in ("dog/2.jpg", "cat/1.png", "cat/deep/3.JPEG", "dog/1.webp"):
        picture(tmp_path / name)
    source = open_source(tmp_path)
    assert source.class_names == ("cat", "dog")
    assert [os.path.relpath(source.where(i), tmp_path) for i in range(len(source))] == [
        "cat/1.png",
        "cat/deep/3.JPEG",
        "dog/1.webp",
        "dog/2.jpg",
    ]
    assert source.labels.dtype == np.int64
    assert source.require_labels().tolist() == [0, 0, 1, 1]
    assert source.encoded(0) == (tmp_path / "cat/1.png").read_bytes()
    assert source.name == f"{tmp_path.name}/train"


def test_flat_folder_has_no_labels(tmp_path):
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "cat" / "b.jpg")
    source = open_source(tmp_path)
    assert len(source) == 2
    with pytest.raises(LowzooError, match="has no labels"):
        source.require_labels()


def test_what_is_no_picture_is_not_listed(tmp_path):
    for name in ("notes.txt", ".hidden.jpg", "._mac.jpg", "__MACOSX/x.jpg", ".git/x.png"):
        picture(tmp_path / "tmp.png")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / "tmp.png").rename(tmp_path / name)
    picture(tmp_path / "good.tiff")
    assert len(open_source(tmp_path)) == 1


@pytest.mark.parametrize("spelling", ["val", "validation", "valid"])
def test_split_folders(tmp_path, spelling):
    picture(tmp_path / "train" / "cat" / "1.png")
    picture(tmp_path / spelling / "cat" / "2.png")
    assert split_names(tmp_path) == ("train", "validation")
    assert open_source(tmp_path, "validation").where(0).endswith("2.png")
    assert open_source(tmp_path, "train").class_names == ("cat",)
    with pytest.raises(LowzooError, match=r"no split 'test'. Choose one of: train, validation"):
        open_source(tmp_path, "test")


def test_undivided_folder_is_all_train(tmp_path):
    picture(tmp_path / "train" / "1.png")
    picture(tmp_path / "bus" / "1.png")
    assert split_names(tmp_path) == ("train",)
    assert open_source(tmp_path).class_names == ("bus", "train")
    with pytest.raises(LowzooError, match="no split 'validation'"):
        open_source(tmp_path, "validation")


def test_a_lone_train_folder_is_a_split(tmp_path):
    picture(tmp_path / "train" / "cat" / "1.png")
    assert open_source(tmp_path).class_names == ("cat",)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is empty"),
        (lambda path: picture_and_rename(path), "no image file in the folder"),
        (lambda path: path.write_text("words"), "neither a folder nor a parquet file"),
    ],
    ids=["missing", "empty", "no pictures", "a text file"],
)
def test_refused_at_the_door(tmp_path, make, message):
    make(tmp_path / "data")
    with pytest.raises(LowzooError, match=message) as caught:
        open_source(tmp_path / "data")
    assert str(tmp_path / "data") in caught.value.message
    assert caught.value.remedy


def picture_and_rename(path):
    path.mkdir()
    (path / "readme.txt").write_text("no pictures here")


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems take names in Unicode only")
def test_names_of_any_bytes(tmp_path):
    picture(tmp_path / "Ünï cöde 猫" / "a b\n.png")
    picture(tmp_path / "z" / "plain.png")
    os.rename(tmp_path / "z" / "plain.png", os.fsencode(tmp_path / "z") + b"/\xff\xfe.png")
    source = open_source(tmp_path)
    assert [len(source.encoded(i)) > 0 for i in range(2)] == [True, True]


def test_a_file_that_vanishes_is_a_bad_image(tmp_path):
    picture(tmp_path / "a.png")
    source = open_source(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(BadImage, match=r"a\.png"):
        source.encoded(0)


def test_fingerprint_follows_the_content(tmp_path):
    picture(tmp_path / "a" / "cat" / "1.png")
    picture(tmp_path / "b" / "cat" / "1.png")
    first = open_source(tmp_path / "a").fingerprint()
    assert len(first) == 16
    assert open_source(tmp_path / "b").fingerprint() == first
    picture(tmp_path / "b" / "cat" / "2.png")
    assert open_source(tmp_path / "b").fingerprint() != first
    (tmp_path / "a" / "cat" / "1.png").write_bytes(b"other")
    assert open_source(tmp_path / "a").fingerprint() != first


def test_survives_pickling(tmp_path):
    picture(tmp_path / "cat" / "1.png")
    source = open_source(tmp_path)
    copy = pickle.loads(pickle.dumps(source))
    assert copy.encoded(0) == source.encoded(0)
    assert copy.fingerprint() == source.fingerprint()
