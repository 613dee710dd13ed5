"""Parquet as the `datasets` library writes it, its variants, and broken files."""

import json
import multiprocessing
import pickle
import sys

import numpy as np
import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.source import open_source, split_names
from tests.helpers.data import png, read_pickled, shade

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write(path, shades, *, labels=None, names=None, image=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": png(shade), "path": f"{shade}.png"} for shade in shades]
    columns = {"image": pa.array(cells, kind) if image is None else image}
    if labels is not None:
        columns["label"] = labels
    table = pa.table(columns)
    if names:
        feature = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(feature)})
    pq.write_table(table, path, **options)


def test_rows_in_any_order_over_files_and_row_groups(tmp_path):
    write(
        tmp_path / "d/train-00000-of-00002.parquet",
        range(0, 50),
        labels=[i % 2 for i in range(50)],
        names=["even", "odd"],
        row_group_size=7,
    )
    write(
        tmp_path / "d/train-00001-of-00002.parquet",
        range(50, 80),
        labels=[i % 2 for i in range(30)],
        names=["even", "odd"],
        row_group_size=4,
    )
    write(tmp_path / "d/validation.parquet", [200], labels=[1], names=["even", "odd"])
    assert split_names(tmp_path / "d") == ("train", "validation")
    source = open_source(tmp_path / "d")
    assert len(source) == 80
    for index in np.random.default_rng(0).permutation(80):
        assert shade(source, int(index)) == index
        assert source.labels[index] == index % 2
    assert source.class_names == ("even", "odd")
    assert source.where(52).endswith("train-00001-of-00002.parquet row 2")
    assert shade(open_source(tmp_path / "d", "validation"), 0) == 200


def test_files_of_the_hub_lie_in_data(tmp_path):
    write(tmp_path / "d/data/train-00000-of-00001.parquet", [1])
    write(tmp_path / "d/data/test-00000-of-00001.parquet", [2])
    assert split_names(tmp_path / "d") == ("train", "test")


def test_one_file_is_all_train_and_its_own_split(tmp_path):
    write(tmp_path / "val-0.parquet", [7])
    assert split_names(tmp_path / "val-0.parquet") == ("train", "validation")
    assert shade(open_source(tmp_path / "val-0.parquet", "validation"), 0) == 7


def test_raw_bytes_text_labels_and_no_labels(tmp_path):
    write(tmp_path / "raw.parquet", [], image=pa.array([png(5), png(6)], pa.large_binary()), labels=["dog", "cat"])
    source = open_source(tmp_path / "raw.parquet")
    assert [shade(source, 0), shade(source, 1)] == [5, 6]
    assert source.class_names == ("cat", "dog")
    assert source.labels.tolist() == [1, 0]
    write(tmp_path / "bare.parquet", [1])
    with pytest.raises(LowzooError, match="has no labels"):
        open_source(tmp_path / "bare.parquet").require_labels()


def test_hidden_and_missing_labels(tmp_path):
    write(tmp_path / "hidden.parquet", [1, 2], labels=[-1, -1])
    assert open_source(tmp_path / "hidden.parquet").labels is None
    write(tmp_path / "part.parquet", [1, 2], labels=pa.array([0, None], pa.int32()))
    with pytest.raises(LowzooError, match="no label for 1 of its 2 images"):
        open_source(tmp_path / "part.parquet").require_labels()


def test_a_missing_text_label_is_none_and_no_class(tmp_path):
    write(tmp_path / "part.parquet", range(4), labels=["dog", None, "cat", ""])
    source = open_source(tmp_path / "part.parquet")
    assert source.class_names == ("cat", "dog")
    assert source.labels.tolist() == [1, -1, 0, -1]
    write(tmp_path / "none.parquet", range(2), labels=pa.array([None, ""], pa.string()))
    assert open_source(tmp_path / "none.parquet").labels is None


def test_null_cell_is_a_bad_image(tmp_path):
    write(tmp_path / "a.parquet", [], image=pa.array([png(1), None], pa.binary()))
    source = open_source(tmp_path / "a.parquet")
    assert shade(source, 0) == 1
    with pytest.raises(BadImage, match=r"a\.parquet row 1"):
        source.encoded(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"PAR1 but no more"), "cannot read .* as parquet"),
        (lambda path: write(path, [], image=pa.array([1, 2])), "is int64, not encoded bytes"),
        (lambda path: pq.write_table(pa.table({"words": ["a"]}), path), "no column of .* holds images, only: words"),
        (lambda path: write(path, []), "holds no rows"),
        (lambda path: write(path, [1], labels=[[1]]), "the column 'label' of"),
    ],
    ids=["damaged", "numbers", "no column", "no rows", "list labels"],
)
def test_refused_at_the_door(tmp_path, make, message):
    make(tmp_path / "x.parquet")
    with pytest.raises(LowzooError, match=message) as caught:
        open_source(tmp_path / "x.parquet")
    assert "\n" not in str(caught.value)


def test_truncated_file(tmp_path):
    write(tmp_path / "x.parquet", range(100))
    data = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(LowzooError, match="as parquet"):
        open_source(tmp_path / "x.parquet")


def test_without_pyarrow(tmp_path, monkeypatch):
    write(tmp_path / "x.parquet", [1])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LowzooError, match=r"pip install 'lowzoo\[train\]'"):
        open_source(tmp_path / "x.parquet")


def test_fingerprint_follows_pixels_and_labels(tmp_path):
    write(tmp_path / "a/x.parquet", [1, 2, 3], labels=[0, 1, 0])
    write(tmp_path / "b/x.parquet", [1, 2, 3], labels=[0, 1, 0])
    write(tmp_path / "c/x.parquet", [1, 2, 3], labels=[0, 1, 1])
    write(tmp_path / "d/x.parquet", [1, 2, 4], labels=[0, 1, 0])
    prints = [open_source(tmp_path / folder / "x.parquet").fingerprint() for folder in "abcd"]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_a_damaged_copy_in_the_cache_is_made_again(tmp_path, cache):
    write(tmp_path / "x.parquet", [11, 12])
    open_source(tmp_path / "x.parquet")
    (copy,) = (cache / "parquet").iterdir()
    copy.write_bytes(copy.read_bytes()[:100])
    from lowzoo.data.stores import parquet

    parquet._open_copy.cache_clear()
    assert shade(open_source(tmp_path / "x.parquet"), 1) == 12


def test_a_fresh_process_reads_the_same(tmp_path):
    write(tmp_path / "x.parquet", [11, 12, 13])
    source = open_source(tmp_path / "x.parquet")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(read_pickled, (pickle.dumps(source), 2)) == png(13)


def test_no_room_for_the_copy(tmp_path, monkeypatch):
    write(tmp_path / "x.parquet", [1])
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "file"))
    with pytest.raises(LowzooError, match="set LOWZOO_CACHE"):
        open_source(tmp_path / "x.parquet")
