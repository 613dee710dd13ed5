"""Sets of the `datasets` library, saved on this machine: columns by type, undecoded bytes, splits, refusals."""

import io
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.source import open_source, split_names
from lowzoo.data.stores import huggingface
from tests.helpers.data import shade

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def quiet(tmp_path, monkeypatch):
    """No bars, no network, and the library's own cache in a place that goes away."""
    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    huggingface._load_version.cache_clear()
    yield
    huggingface._load_version.cache_clear()
    datasets.enable_progress_bars()


def jpeg(shade):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(buffer, "JPEG")
    return buffer.getvalue()


def make(shades, *, picture="photo", label="kind", extra=None):
    columns = {
        "caption": [f"number {shade}" for shade in shades],
        picture: [{"bytes": jpeg(shade), "path": f"{shade}.jpg"} for shade in shades],
    }
    features = {"caption": datasets.Value("string"), picture: datasets.Image()}
    if label:
        columns[label] = [shade % 2 for shade in shades]
        features[label] = datasets.ClassLabel(names=["even", "odd"])
    for name in extra or ():
        columns[name], features[name] = columns[picture], datasets.Image()
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def test_a_saved_dictionary_of_splits(tmp_path):
    whole = make(range(20))
    datasets.DatasetDict({"train": whole, "valid": whole.select([3, 7])}).save_to_disk(tmp_path / "d")
    for word in (tmp_path / "d", f"hf:{tmp_path / 'd'}"):
        assert split_names(word) == ("train", "validation")
        source = open_source(word)
        assert [shade(source, index) for index in (19, 0, 5)] == [19, 0, 5]
        assert source.encoded(4) == jpeg(4)
        assert source.labels.tolist() == [index % 2 for index in range(20)]
        assert source.class_names == ("even", "odd")
        held_out = open_source(word, "validation")
        assert [shade(held_out, index) for index in range(2)] == [3, 7]
        assert held_out.where(1).endswith("valid row 1")
    assert open_source(tmp_path / "d").name == "d/train"


def test_one_saved_set_is_all_train_even_after_selecting(tmp_path):
    make(range(10)).shuffle(seed=1).select(range(4)).save_to_disk(tmp_path / "d")
    assert split_names(tmp_path / "d") == ("train",)
    source = open_source(tmp_path / "d")
    assert len(source) == 4
    assert [shade(source, index) % 2 for index in range(4)] == source.labels.tolist()


def test_the_librarys_own_loader_of_local_parquet(tmp_path):
    (tmp_path / "d").mkdir()
    make(range(6)).to_parquet(tmp_path / "d" / "train-00000-of-00001.parquet")
    make([9]).to_parquet(tmp_path / "d" / "test-00000-of-00001.parquet")
    word = f"hf:{tmp_path / 'd'}"
    assert split_names(word) == ("train", "test")
    source = open_source(word)
    assert [shade(source, index) for index in range(6)] == list(range(6))
    assert shade(open_source(word, "test"), 0) == 9


def test_pictures_that_stay_in_files(tmp_path):
    for name in ("cat/1.jpg", "dog/2.jpg"):
        (tmp_path / "d" / name).parent.mkdir(parents=True)
        (tmp_path / "d" / name).write_bytes(jpeg(int(name[-5])))
    source = open_source(f"hf:{tmp_path / 'd'}")
    assert [shade(source, index) for index in range(2)] == [1, 2]
    assert source.class_names == ("cat", "dog")
    (tmp_path / "d/dog/2.jpg").unlink()
    with pytest.raises(BadImage, match="row 1 is not a readable image"):
        source.encoded(1)


def test_null_cells_and_hidden_labels(tmp_path):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a"])})
    cells = [{"bytes": jpeg(1), "path": None}, None]
    datasets.Dataset.from_dict({"image": cells, "label": [-1, -1]}, features=features).save_to_disk(tmp_path / "d")
    source = open_source(tmp_path / "d")
    assert source.labels is None
    assert shade(source, 0) == 1
    with pytest.raises(BadImage, match="row 1 is not a readable image: the cell holds no bytes"):
        source.encoded(1)


def test_the_column_is_found_by_its_type_or_its_name(tmp_path):
    make(range(2), picture="img", extra=["mask"]).save_to_disk(tmp_path / "a")
    assert shade(open_source(tmp_path / "a"), 1) == 1
    make(range(2), picture="left", extra=["right"]).save_to_disk(tmp_path / "b")
    with pytest.raises(LowzooError, match=r"several columns of .* hold images: left, right"):
        open_source(tmp_path / "b")
    make(range(2)).remove_columns("photo").save_to_disk(tmp_path / "c")
    with pytest.raises(LowzooError, match=r"no column of .* holds images, only: caption, kind"):
        open_source(tmp_path / "c")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("hf:nobody/nothing", "cannot open hf:nobody/nothing through datasets"),
        ("hf:nobody/nothing@v1:small", "cannot open hf:nobody/nothing@v1:small"),
        ("hf:", "names no data set"),
    ],
)
def test_what_cannot_be_opened_is_one_line(word, message):
    with pytest.raises(LowzooError, match=message) as caught:
        open_source(word)
    assert "\n" not in str(caught.value)


def test_revision_and_configuration_reach_the_library(monkeypatch):
    asked = []

    def load(*arguments, **options):
        asked.append((arguments, options))
        return {"train": make(range(3))}

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert len(open_source("hf:org/name@abc123:small")) == 3
    assert len(open_source("hf:org/name")) == 3
    assert asked == [
        (("org/name", "small"), {"revision": "abc123", "streaming": False}),
        (("org/name", None), {"revision": None, "streaming": False}),
    ]


def test_without_the_library(monkeypatch):
    monkeypatch.setattr(huggingface.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(LowzooError, match=r"needs datasets. Run: pip install 'lowzoo\[train\]'"):
        open_source("hf:org/name")


def test_fingerprint_and_pickling(tmp_path):
    for name, shades in (("a", range(5)), ("b", range(5)), ("c", [0, 1, 2, 3, 6])):
        make(shades).save_to_disk(tmp_path / name)
    prints = [open_source(tmp_path / name).fingerprint() for name in "abc"]
    assert prints[0] == prints[1] != prints[2]
    assert len(prints[0]) == 16
    copy = pickle.loads(pickle.dumps(open_source(tmp_path / "a")))
    assert copy.encoded(2) == jpeg(2)
    assert np.array_equal(copy.labels, [0, 1, 0, 1, 0])


def test_other_sources_do_not_import_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    (tmp_path / "1.jpg").write_bytes(jpeg(1))
    assert len(open_source(tmp_path)) == 1
