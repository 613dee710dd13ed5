"""Features made elsewhere, as one more of the matrix: matched by path, never by order, and refused if they misfit."""

import dataclasses
import json

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
from PIL import Image

import lowzoo
from lowzoo.base.errors import LowzooError
from lowzoo.base.printable import printable
from lowzoo.export import ExportSpec
from lowzoo.export.artifact import write_artifact
from lowzoo.export.cross import cross
from lowzoo.export.cross_tables import open_table
from lowzoo.export.parity.checker import decoded, open_part, spread, torch_outputs
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.zoo.digest import weights_digest
from tests.helpers.export import tiny_resolved

PICTURES = 96


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_artifact(tiny_resolved(), ExportSpec(), tmp_path_factory.mktemp("cross") / "net.onnx").path


@pytest.fixture(scope="module")
def features():
    source = open_part(None, "train")
    chosen = spread(len(source), PICTURES)
    (rows,) = torch_outputs(tiny_resolved(), [decoded(source, i, 3, None) for i in chosen])
    return [printable(source.where(i)) for i in chosen], rows


def write(path, places, rows, **metadata):
    table = pyarrow.table({"path": places, "vector": [each.tolist() for each in rows]})
    parquet.write_table(table.replace_schema_metadata(metadata or None), path)
    return path


def test_a_table_is_matched_by_path_whatever_its_order(file, features, tmp_path):
    places, rows = features
    order = np.random.default_rng(0).permutation(len(rows))
    table = write(tmp_path / "phone.parquet", [places[i] for i in order], rows[order])
    report = cross([file, table], images=PICTURES, bound=3)
    assert [one.precision for one in report.members] == ["fp32", "unknown"]
    assert report.pair("A", "B").agreement == 1
    assert report.pair("A", "B").min_cosine > 0.999999
    assert not report.broken


def test_paths_may_begin_in_another_folder(file, features, tmp_path):
    places, rows = features
    moved = [f"/sdcard/pictures/{place.partition(':')[2].removeprefix('train/')}" for place in places]
    wanted = [f"photos/{place.partition(':')[2]}" for place in places]
    assert np.array_equal(open_table(write(tmp_path / "phone.parquet", moved, rows)).of(wanted), rows)
    with pytest.raises(LowzooError, match=r"no features of 1 of the 96 labelled pictures, e\.g\. "):
        open_table(write(tmp_path / "part.parquet", moved[1:], rows[1:])).of(wanted)


def test_a_table_of_changed_numbers_is_found(file, features, tmp_path):
    places, rows = features
    drifted = rows + 0.05 * np.abs(rows).max() * np.random.default_rng(0).standard_normal(rows.shape)
    said = {"lowzoo.precision": "fp32", "lowzoo.engine": "a browser"}
    table = write(tmp_path / "browser.parquet", places, drifted.astype(np.float32), **said)
    report = cross([file, table], images=PICTURES, bound=100)
    assert report.members[1].engine == "a browser"
    assert {(pair.bank, pair.queries) for pair in report.broken} == {("A", "B"), ("B", "A")}


def test_a_table_of_other_weights_is_refused(file, features, tmp_path):
    places, rows = features
    digest = weights_digest(tiny_resolved().model)[:16]
    for weights, refused in ((digest, False), ("0" * 16, True)):
        said = {"lowzoo": json.dumps({"model": {"name": "net", "weights": weights}})}
        table = write(tmp_path / f"{weights}.parquet", places, rows, **said)
        if refused:
            with pytest.raises(LowzooError, match="an index of one says nothing to the other"):
                cross([file, table], images=PICTURES, bound=3)
        else:
            assert not cross([file, table], images=PICTURES, bound=3).broken


@pytest.mark.parametrize(
    ("columns", "metadata", "said"),
    [
        ({"path": ["a"], "features": [[1.0]]}, {}, r"has no column 'vector', but path, features"),
        ({"path": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}, {}, "are no numbers of one width"),
        ({"path": ["a"], "vector": [None]}, {}, "are no numbers of one width"),
        ({"path": ["a"], "vector": [[1.0, None]]}, {}, "are no numbers of one width"),
        ({"path": ["a"], "vector": [["1", "2"]]}, {}, "are no numbers of one width"),
        ({"path": ["a"], "vector": [[1.0]]}, {"lowzoo.precision": "FP32"}, "says that its precision is 'FP32'"),
        ({"path": [], "vector": []}, {}, "holds no vectors"),
        ({"path": ["a"], "vector": [[1.0]]}, {"lowzoo": "[]"}, "what .* says of itself cannot be read"),
        ({"path": ["a"], "vector": [[1.0]]}, {"lowzoo": '{"compatible": {"model": "other"}}'}, "another model, other"),
    ],
)
def test_bad_tables(columns, metadata, said, tmp_path):
    path = tmp_path / "bad.parquet"
    parquet.write_table(pyarrow.table(columns).replace_schema_metadata(metadata), path)
    with pytest.raises(LowzooError, match=said):
        open_table(path)


def test_what_is_no_table(tmp_path):
    with pytest.raises(LowzooError, match="does not exist"):
        open_table(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("path,vector")
    with pytest.raises(LowzooError, match="cannot be read"):
        open_table(tmp_path / "text.parquet")


def test_pictures_twice_are_refused(features, tmp_path):
    places, rows = features
    table = open_table(write(tmp_path / "twice.parquet", [*places, places[0]], np.concatenate([rows, rows[:1]])))
    with pytest.raises(LowzooError, match="twice"):
        table.of(places)


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    column = pyarrow.array(["a"])
    names = ["path", "path", "vector"]
    parquet.write_table(
        pyarrow.Table.from_arrays([column, column, pyarrow.array([[1.0]])], names), tmp_path / "t.parquet"
    )
    with pytest.raises(LowzooError, match="cannot be read"):
        open_table(tmp_path / "t.parquet")


def test_a_table_of_another_preparation_is_refused(file, features, tmp_path):
    places, rows = features
    preparation = dataclasses.asdict(Preprocessing.of(tiny_resolved()))
    same = write(tmp_path / "same.parquet", places, rows, lowzoo=json.dumps({"preprocessing": preparation}))
    assert not cross([file, same], images=PICTURES, bound=3).broken
    preparation["input_size"] = [3, 64, 96]
    other = write(tmp_path / "other.parquet", places, rows, lowzoo=json.dumps({"preprocessing": preparation}))
    with pytest.raises(LowzooError, match=r"has input_size .*other\.parquet has 64 x 96.* they see different pictures"):
        cross([file, other], images=PICTURES, bound=3)


def test_embed_says_how_pictures_were_prepared(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (80, 60), (200, 10, 10)).save(photos / "a.png")
    lowzoo.embed(photos, model="rob_vit_tiny", image_size=64, out=tmp_path / "t.parquet")
    wanted = dataclasses.replace(Preprocessing.of(lowzoo.load("rob_vit_tiny")), input_size=(3, 64, 64))
    assert open_table(tmp_path / "t.parquet").preparation == wanted
