"""`lowzoo embed`: the table as pandas and `datasets` read it, the sheet, and refusals."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from lowzoo.data.source import open_source
from lowzoo.evaluate.contact_sheet import draw_neighbours
from lowzoo.features.features import Features
from tests.helpers.cli import runner
from tests.helpers.evaluate import write_pictures

pytestmark = pytest.mark.usefixtures("cache")

MODEL = ("--model", "rob_vit_tiny", "--image-size", "32")


@pytest.fixture
def data(tmp_path):
    return write_pictures(tmp_path / "d", {"train": 5}) / "train"


run = runner("embed")


def test_the_table(capsys, data, tmp_path):
    pandas, datasets = pytest.importorskip("pandas"), pytest.importorskip("datasets")
    (data / "red" / "red2.png").write_text("words")
    out = tmp_path / "deep" / "e.parquet"
    code, text, errors = run(capsys, data, *MODEL, "--out", out)
    assert code == 0, errors
    assert "Found: 15 files, 15 pictures\n" in text
    assert "Embedded: 14 images of train/train (" in text
    assert f" read, 1 cannot be read: {data}/red/red2.png in 192 dimensions" in text
    table = pandas.read_parquet(out)
    assert list(table.columns) == ["path", "vector", "label"]
    assert table.path[0] == str(data / "blue" / "blue0.png")
    assert "red2.png" not in " ".join(table.path)
    assert np.stack(table.vector).shape == (14, 192)
    assert table.label.tolist() == [0] * 5 + [1] * 5 + [2] * 4
    loaded = datasets.load_dataset("parquet", data_files=str(out), cache_dir=str(tmp_path / "hf"))["train"]
    assert loaded.features["label"].names == ["blue", "green", "red"]
    np.testing.assert_array_equal(loaded[3]["vector"], table.vector[3])


def test_what_the_table_says_of_itself(capsys, data, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    code, text, _ = run(capsys, data, *MODEL, "--out", tmp_path / "e.parquet", "--json")
    assert code == 0
    facts = json.loads(text)
    assert facts.pop("data")["images"] == 15
    assert facts == {
        "images": 15,
        "skipped": 0,
        "dimensions": 192,
        "out": str(tmp_path / "e.parquet"),
        "sheet": None,
    }
    facts = json.loads(parquet.read_schema(tmp_path / "e.parquet").metadata[b"lowzoo"])
    assert facts["model"]["name"].startswith("rob_vit_tiny.")
    assert facts["data"]["images"] == 15


def test_images_without_labels(capsys, data, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    code, _, errors = run(
        capsys, data / "red", *MODEL, "--out", tmp_path / "e.parquet", "--sheet", tmp_path / "s.png", "--rows", 3
    )
    assert code == 0, errors
    assert parquet.read_table(tmp_path / "e.parquet").column_names == ["path", "vector"]
    with Image.open(tmp_path / "s.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    # No frame is green or red where no class is known.
    assert not (pixels == (30, 150, 60)).all(axis=1).any()
    assert not (pixels == (205, 45, 40)).all(axis=1).any()
    assert (pixels == (70, 70, 70)).all(axis=1).any()


def test_a_sheet_leaves_the_image_itself_out(data, tmp_path):
    source = dataclasses.replace(open_source(data), class_names=None)
    # Every image is alone in its class, so that only itself would be framed green.
    features = Features(torch.eye(15) + 0.1, torch.arange(15), torch.arange(15), 0)
    draw_neighbours(source, features, source, features, tmp_path / "s.png", title="t", columns=14, most_rows=2)
    with Image.open(tmp_path / "s.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    assert not (pixels == (30, 150, 60)).all(axis=1).any()
    assert (pixels == (205, 45, 40)).all(axis=1).any()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing is to be written. Name a table by --out"),
        (["--out", "{tmp}/e.csv"], "e.csv is no parquet file"),
        (["--out", "{data}/red/red0.png/e.parquet"], "cannot write to the folder"),
        (["--out", "{tmp}/e.parquet", "--split", "test"], "no split 'test'"),
        (["--sheet", "{tmp}/s.png", "--columns", "0"], "Invalid value for '--columns'"),
        (["--out", "{tmp}/e.parquet", "--model", "nothing"], "unknown model nothing"),
    ],
)
def test_refusals(capsys, data, tmp_path, words, message):
    code, _, errors = run(capsys, data, *(word.format(tmp=tmp_path, data=data) for word in words))
    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "e.parquet").exists()
