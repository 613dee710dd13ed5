"""Columns of parquet and of the `datasets` library: pictures, paths of pictures, classes, and what is in doubt."""

import os

import numpy as np
import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.data.reading.options import SourceOptions
from lowzoo.data.source import open_source
from tests.helpers.data import png, shades

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write(file, **columns):
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)
    return file


def opened(path, **options):
    return open_source(path, "train", SourceOptions(**options))


def pictures(folder, count):
    folder.mkdir(parents=True)
    for i in range(count):
        (folder / f"{i}.png").write_bytes(png(i))


@pytest.mark.parametrize("shape", ["struct", "text"])
def test_paths_in_place_of_bytes_are_read_beside_the_table(tmp_path, shape):
    pictures(tmp_path / "d/pics", 3)
    paths = ["pics/2.png", str(tmp_path / "d/pics/0.png"), "pics/9.png"]
    cells = [{"bytes": None, "path": path} for path in paths] if shape == "struct" else paths
    source = opened(write(tmp_path / "d/a.parquet", image=cells, label=[1, 0, 1]))
    assert shades(source) == [2, 0, None]
    assert source.labels.tolist() == [1, 0, 1]
    notes = "\n".join(source.found.notes)
    assert "3 of 3 rows hold a path and no bytes; paths are relative to the parquet file" in notes
    assert f"1 files that rows name do not exist: {tmp_path}/d/pics/9.png" in notes


def test_the_identity_of_paths_is_that_of_their_files(tmp_path):
    for folder in ("a", "b"):
        pictures(tmp_path / folder / "pics", 2)
        write(tmp_path / folder / "t.parquet", path=["pics/0.png", "pics/1.png"])
    first = opened(tmp_path / "a/t.parquet").fingerprint()
    assert opened(tmp_path / "b/t.parquet").fingerprint() == first
    status = (tmp_path / "b/pics/1.png").stat()
    (tmp_path / "b/pics/1.png").write_bytes(png(7))
    os.utime(tmp_path / "b/pics/1.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert opened(tmp_path / "b/t.parquet").fingerprint() != first


def test_files_that_are_all_missing_and_addresses_are_refused(tmp_path):
    with pytest.raises(LowzooError, match=r"holds paths and no pictures, and none of the 2 files exists: .*x.png"):
        opened(write(tmp_path / "a.parquet", image=["x.png", "y.png"]))
    with pytest.raises(LowzooError, match="holds addresses, not pictures"):
        opened(write(tmp_path / "b.parquet", path=["https://example.org/x.png"]))


def test_the_column_is_found_said_or_asked_for(tmp_path):
    one = opened(write(tmp_path / "a.parquet", picture=[png(1)], other=["x"], species=["cat"]))
    assert (shades(one), one.class_names) == ([1], ("cat",))
    assert "pictures are taken from the column 'picture'" in one.found.notes
    assert "classes are taken from the column 'species'" in one.found.notes
    path = write(tmp_path / "b.parquet", left=[png(1)], right=[png(2)], fine=["x"], coarse=[3])
    with pytest.raises(LowzooError, match=r"several columns of .* hold images: left, right. Choose one by --image-col"):
        opened(path)
    chosen = opened(path, image_column="right", label_column="coarse")
    assert (shades(chosen), chosen.labels.tolist()) == ([2], [3])
    assert opened(path, image_column="left").fingerprint() != chosen.fingerprint()
    with pytest.raises(LowzooError, match="has no column 'up', only: left, right, fine, coarse"):
        opened(path, image_column="up")
    with pytest.raises(LowzooError, match=r"the column 'coarse' of .* holds no pictures"):
        opened(path, image_column="coarse")
    with pytest.raises(LowzooError, match="has no column 'up', only: right, fine, coarse"):
        opened(path, image_column="left", label_column="up")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pa.array([1.0, None, 0.0]), [1, -1, 0]),
        (pa.array([1.0, float("nan"), 0.0], pa.float32()), [1, -1, 0]),
        (pa.array([True, False, None]), [1, 0, -1]),
        (pa.array([2**40, -1, -7]), [2**40, -1, -1]),
        (pa.array(["b", "a", None]).dictionary_encode(), [1, 0, -1]),
        (pa.array([7, 3, 3], pa.uint64()), [7, 3, 3]),
    ],
)
def test_kinds_of_classes(tmp_path, labels, expected):
    source = opened(write(tmp_path / "a.parquet", image=[png(i) for i in range(3)], label=labels))
    assert source.labels.tolist() == expected
    without = expected.count(-1)
    assert any(f"{without} rows" in note for note in source.found.notes) == bool(without)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (pa.array([0.5]), "holds fractions"),
        (pa.array([2**63], pa.uint64()), "holds numbers beyond 63 bits"),
        (pa.array([[1, 2]]), r"is list<.*>, which is no class"),
        (pa.array([{"a": 1}]), r"is struct<.*>, which is no class"),
    ],
)
def test_what_is_no_class_is_refused_by_name(tmp_path, labels, message):
    with pytest.raises(LowzooError, match=f"the column 'label' of .*a.parquet {message}"):
        opened(write(tmp_path / "a.parquet", image=[png(1)], label=labels))


def test_empty_cells_are_counted(tmp_path):
    source = opened(write(tmp_path / "a.parquet", image=pa.array([png(1), None, None], pa.binary())))
    assert (source.found.files, source.found.pictures) == (3, 1)
    assert dict(source.found.left_out) == {"empty cells": 2}


def test_tables_of_lowzoo_and_broken_ones_beside_pictures(tmp_path):
    pictures(tmp_path / "d/cat", 2)
    own = pa.table({"path": ["x"], "vector": [[1.0]]}).replace_schema_metadata({"lowzoo": "{}"})
    pq.write_table(own, tmp_path / "d/emb.parquet")
    (tmp_path / "d/broken.parquet").write_bytes(b"PAR1 no more")
    source = opened(tmp_path / "d")
    assert dict(source.found.left_out) == {"written by lowzoo": 1, ".parquet": 1}
    assert "broken.parquet cannot be read as parquet" in source.found.notes
    with pytest.raises(LowzooError, match="was written by lowzoo embed and holds features, no images"):
        opened(tmp_path / "d/emb.parquet")


def test_splits_of_tables_beside_splits_of_folders(tmp_path):
    write(tmp_path / "d/train/0.parquet", image=[png(1)])
    pictures(tmp_path / "d/val/cat", 2)
    (tmp_path / "d/papers").mkdir()
    assert shades(open_source(tmp_path / "d", "train")) == [1]
    held_out = open_source(tmp_path / "d", "validation")
    assert (shades(held_out), held_out.class_names) == ([0, 1], ("cat",))
    assert any("papers" in note for note in held_out.found.notes)


class TestLibrary:
    """The same through `datasets`."""

    @pytest.fixture(autouse=True)
    def datasets(self, tmp_path, monkeypatch):
        datasets = pytest.importorskip("datasets")
        datasets.disable_progress_bars()
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        yield datasets
        datasets.enable_progress_bars()

    def saved(self, datasets, path, shades, **columns):
        cells = [{"bytes": png(shade), "path": None} for shade in shades]
        features = {"a": datasets.Image(), "b": datasets.Image()}
        features |= {name: datasets.Value("string") for name in columns}
        data = {"a": cells, "b": cells[::-1], **columns}
        datasets.Dataset.from_dict(data, features=datasets.Features(features)).save_to_disk(path)
        return path

    def test_columns(self, datasets, tmp_path):
        path = self.saved(datasets, tmp_path / "d", [1, 2], kind=["x", "y"], other=["u", "u"])
        with pytest.raises(LowzooError, match=r"several columns of .* hold images: a, b. Choose one by --image-column"):
            opened(path)
        source = opened(path, image_column="b", label_column="kind")
        assert (shades(source), source.labels.tolist(), source.class_names) == ([2, 1], [0, 1], ("x", "y"))
        with pytest.raises(LowzooError, match="has no column 'c', only: a, b, kind, other"):
            opened(path, image_column="c")
        with pytest.raises(LowzooError, match="has no use for --labels"):
            opened(path, labels=tmp_path / "l.csv")

    def test_the_identity_is_that_of_every_row(self, datasets, tmp_path):
        shades_ = list(range(200))
        first = opened(self.saved(datasets, tmp_path / "a", shades_), image_column="a").fingerprint()
        assert opened(self.saved(datasets, tmp_path / "b", shades_), image_column="a").fingerprint() == first
        # A row that 64 evenly spaced ones pass over.
        shades_[1] = 250
        other = opened(self.saved(datasets, tmp_path / "c", shades_), image_column="a").fingerprint()
        assert other != first

    def test_a_folder_of_pictures_that_were_replaced(self, datasets, tmp_path):
        for name in ("cat/1.png", "dog/2.png"):
            (tmp_path / "d" / name).parent.mkdir(parents=True)
            (tmp_path / "d" / name).write_bytes(png(int(name[-5])))
        word = f"hf:{tmp_path / 'd'}"
        first = opened(word)
        status = (tmp_path / "d/cat/1.png").stat()
        (tmp_path / "d/cat/1.png").write_bytes(png(9))
        os.utime(tmp_path / "d/cat/1.png", ns=(status.st_atime_ns, status.st_mtime_ns))
        second = opened(word)
        assert shades(second) == [9, 2]
        assert second.fingerprint() != first.fingerprint()

    def test_a_local_table_that_was_replaced_is_not_read_from_the_librarys_copy(self, datasets, tmp_path):
        cells = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        path = tmp_path / "d/train.parquet"
        for shade in (5, 6):
            status = path.stat() if path.exists() else None
            write(path, image=pa.array([{"bytes": png(shade), "path": "x.png"}], cells))
            if status is not None:
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            source = opened(f"hf:{tmp_path / 'd'}", image_column="image")
            assert np.unique(shades(source)).tolist() == [shade]
