"""The sets of the transfer table, written as their owners lay them out, read back, and damaged."""

import io
import json
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.decode import decode_rgb
from lowzoo.evaluate.sets.cifar100 import open_cifar100
from lowzoo.evaluate.sets.clevr import open_clevr_count, open_clevr_dist
from lowzoo.evaluate.sets.inaturalist18 import open_inaturalist18
from lowzoo.evaluate.sets.places205 import open_places205
from tests.helpers import transfer as write

pytestmark = pytest.mark.usefixtures("few_records")

MEMBERS = (1, 40, 99)


def pixels(source, index):
    return decode_rgb(source.encoded(index), source.where(index))


@pytest.mark.parametrize("layout", ["binary", "python"])
def test_cifar100(tmp_path, layout):
    folder, planes, labels = write.cifar100(tmp_path, layout)
    for root in (tmp_path, folder):
        train = open_cifar100(root, "train")
        assert train.labels.tolist() == labels["train"].tolist()
        assert train.class_names[:2] == ("fine0", "fine1")
        assert np.array_equal(pixels(train, 7), planes["train"][7].reshape(3, 32, 32).transpose(1, 2, 0))
        assert len(open_cifar100(root, "test")) == write.CIFAR_RECORDS["test"]
    assert train.fingerprint() != open_cifar100(tmp_path, "test").fingerprint()


def test_both_layouts_of_cifar100_are_one_set(tmp_path):
    one, other = (
        open_cifar100(write.cifar100(tmp_path / layout, layout)[0], "train") for layout in ("binary", "python")
    )
    assert one.fingerprint() == other.fingerprint()
    assert one.labels.tolist() == other.labels.tolist()


def test_damaged_cifar100(tmp_path):
    folder, _, _ = write.cifar100(tmp_path, "binary")
    file = folder / "train.bin"
    whole = file.read_bytes()
    file.write_bytes(whole[:-3074])
    with pytest.raises(LowzooError, match=r"train.bin has \d+ bytes instead of \d+"):
        open_cifar100(tmp_path, "train")
    file.write_bytes(whole)
    (folder / "fine_label_names.txt").unlink()
    with pytest.raises(LowzooError, match=r"cannot read .*fine_label_names.txt"):
        open_cifar100(tmp_path, "train")
    with pytest.raises(LowzooError, match=r"CIFAR-100 is not there: no .*cifar-100-binary/test.bin"):
        open_cifar100(tmp_path / "elsewhere", "test")


def test_a_pickle_is_not_executed(tmp_path):
    folder, _, _ = write.cifar100(tmp_path, "python")

    class Evil:
        def __reduce__(self):
            return (sys.exit, (3,))

    (folder / "train").write_bytes(pickle.dumps({"data": Evil()}, protocol=2))
    with pytest.raises(LowzooError, match=r"train is cut short or not CIFAR-100 \(it wants to run sys.exit"):
        open_cifar100(tmp_path, "train")
    (folder / "test").write_bytes((folder / "test").read_bytes()[:900])
    with pytest.raises(LowzooError, match="test is cut short"):
        open_cifar100(tmp_path, "test")


def test_inaturalist18(tmp_path):
    write.inaturalist18(tmp_path / "inaturalist18")
    train, val = (open_inaturalist18(tmp_path, split) for split in ("train", "val"))
    assert (len(train), len(val)) == (12, 6)
    # Category 7 is the third in the order of numbers, whatever their order in the file.
    assert train.labels.tolist() == [0, 1, 2] * 4
    assert train.class_names == ("species1", "species4", "species7")
    assert train.where(0).endswith("train_val2018/Plantae/1/0.jpg")
    assert pixels(train, 5).shape == (24, 30, 3)


def test_damaged_inaturalist18(tmp_path):
    write.inaturalist18(tmp_path)
    (tmp_path / "train_val2018" / "Plantae" / "1" / "3.jpg").unlink()
    with pytest.raises(LowzooError, match=r"1 of 12 images that train2018.json names are missing, .*/1/3.jpg"):
        open_inaturalist18(tmp_path, "train")
    document = json.loads((tmp_path / "val2018.json").read_text())
    del document["annotations"][2]
    (tmp_path / "val2018.json").write_text(json.dumps(document))
    with pytest.raises(LowzooError, match=r"val2018.json is not iNaturalist's"):
        open_inaturalist18(tmp_path, "val")
    (tmp_path / "val2018.json").write_text(json.dumps(document)[:500])
    with pytest.raises(LowzooError, match=r"val2018.json is cut short or no JSON"):
        open_inaturalist18(tmp_path, "val")
    (tmp_path / "val2018.json").write_text("[]")
    with pytest.raises(LowzooError, match=r"val2018.json has no list 'images'"):
        open_inaturalist18(tmp_path, "val")
    (tmp_path / "val2018.json").unlink()
    with pytest.raises(LowzooError, match=r"iNaturalist 2018 is not there: no .*val2018.json"):
        open_inaturalist18(tmp_path, "val")


@pytest.mark.parametrize("images", ["data/vision/torralba/deeplearning/images256", "images256"])
def test_places205(tmp_path, images):
    write.places205(tmp_path / "places205", images)
    train = open_places205(tmp_path, "train")
    assert train.labels.tolist() == [0, 1, 2] * 4
    assert train.class_names == ("abbey", "alley", "apartment_building/outdoor")
    assert pixels(train, 2).shape == (24, 30, 3)
    assert open_places205(tmp_path / "places205", "val").labels.tolist() == [0, 1, 2] * 2


def test_damaged_places205(tmp_path):
    images = write.places205(tmp_path, "images256")
    file = tmp_path / "trainvalsplit_places205" / "train_places205.csv"
    with file.open("a") as out:
        out.write("a/abbey/new.jpg 0\n")
    with pytest.raises(LowzooError, match=r"1 of 13 images that train_places205.csv names are missing, .*new.jpg"):
        open_places205(tmp_path, "train")
    file.write_text("a/abbey/gsun_0.jpg\n")
    with pytest.raises(LowzooError, match=r"line 1 of .*train_places205.csv is no name and class"):
        open_places205(tmp_path, "train")
    file.write_bytes(b"a/abbey/gsun_0.jpg 0\n\xff\xfejunk")
    with pytest.raises(LowzooError, match=r"line 2 of .*train_places205.csv is no text"):
        open_places205(tmp_path, "train")
    images.rename(tmp_path / "elsewhere")
    with pytest.raises(LowzooError, match=r"Places205 is not there: no .*images256"):
        open_places205(tmp_path, "val")


def test_clevr(tmp_path):
    write.clevr(tmp_path / "CLEVR_v1.0", counts=(3, 10, 5), nearest=(8.0, 8.01, 99.0))
    count, dist = open_clevr_count(tmp_path, "train"), open_clevr_dist(tmp_path / "CLEVR_v1.0", "train")
    assert count.labels.tolist() == [0, 7, 2] * 4
    assert len(count.class_names) == 8
    assert count.class_names[7] == "10 objects"
    # An interval holds its upper end: 8.0 is still "at most 8".
    assert dist.labels.tolist() == [0, 1, 5] * 4
    assert len(dist.class_names) == 6
    assert dist.fingerprint() == count.fingerprint()
    assert pixels(count, 1).shape == (24, 30, 3)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda document: document["scenes"][1].pop("objects"), "CLEVR_train_scenes.json is not CLEVR's"),
        (
            lambda document: document["scenes"][1]["objects"].clear(),
            r"CLEVR_train_scenes.json (is not|holds the class)",
        ),
        (lambda document: document.pop("scenes"), "CLEVR_train_scenes.json has no list 'scenes'"),
        (lambda document: document["scenes"].clear(), "CLEVR_train_scenes.json names no image"),
    ],
)
def test_damaged_clevr(tmp_path, damage, message):
    write.clevr(tmp_path / "CLEVR_v1.0")
    file = tmp_path / "CLEVR_v1.0" / "scenes" / "CLEVR_train_scenes.json"
    document = json.loads(file.read_text())
    damage(document)
    file.write_text(json.dumps(document))
    with pytest.raises(LowzooError, match=message):
        open_clevr_count(tmp_path, "train")


def test_missing_pictures_of_clevr(tmp_path):
    write.clevr(tmp_path)
    (tmp_path / "images" / "val" / "CLEVR_val_000004.png").unlink()
    with pytest.raises(LowzooError, match=r"1 of 6 images that CLEVR_val_scenes.json names .*CLEVR_val_000004.png"):
        open_clevr_count(tmp_path, "val")
    with pytest.raises(LowzooError, match=r"CLEVR v1.0 is not there: no .*CLEVR_v1.0/scenes/CLEVR_train_scenes.json"):
        open_clevr_dist(tmp_path / "images", "train")


def test_the_pixmap_is_what_every_reader_understands(tmp_path):
    source = open_cifar100(write.cifar100(tmp_path, "binary")[0], "test")
    with Image.open(io.BytesIO(source.encoded(0))) as image:
        assert image.size == (32, 32)
