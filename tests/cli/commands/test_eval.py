"""`lowzoo eval knn` as a user types it: one document on stdout, everything else on stderr, clear refusals."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.helpers.cli import runner

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("validation", 3)):
        for label, shade in (("dark", 20), ("light", 200)):
            folder = tmp_path / "data" / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(shade, shade + 50, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "data"


run = runner("eval", "knn")


def test_table(capsys, data, model, tmp_path):
    out = tmp_path / "results" / "knn.json"
    code, text, _ = run(capsys, model, "--data", data, "--k", "3,1", "--out", out)
    assert code == 0
    assert text.splitlines()[0] == f"Data: {data}"
    assert "Bank: 12 images of data/train" in text
    assert [line.split()[0] for line in text.splitlines() if line.startswith("knn_")] == ["knn_top1_k1", "knn_top1_k3"]
    assert json.loads(out.read_text())["settings"]["k"] == [1, 3]


def test_json_stands_alone_on_stdout(capsys, data, model):
    code, text, errors = run(capsys, model, "--data", data, "--json")
    assert code == 0
    document = json.loads(text)
    assert document["settings"]["k"] == [10]
    assert document["model"]["trained"] is True
    assert errors.startswith("Data: ")


def test_random_initialisation(capsys, data):
    code, text, _ = run(capsys, "resnet18", "--data", data, "--image-size", 32, "--random-init", "--json")
    assert code == 0
    assert json.loads(text)["model"]["revision"] == "random initialisation, seed 0"


def test_first_line_names_the_embedded_set(capsys):
    code, text, errors = run(capsys, "no_such_model")
    assert code == 2
    assert text.splitlines()[0].startswith("Data: the sample set embedded in lowzoo")
    assert errors.startswith("lowzoo: error: unknown model no_such_model")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--k", "0"], "k = 0 neighbours"),
        (["--k", "13"], "k = 13 neighbours cannot be found among 12"),
        (["--k", "ten"], "--k ten is no list of whole numbers"),
        (["--device", "abacus"], "device 'abacus' cannot be used"),
        (["--query-split", "test"], "no split 'test'"),
        (["--out", "{data}/train/dark/0.png/knn.json"], "cannot write to the folder"),
        (["--workers", "-1"], "Invalid value for '--workers'"),
    ],
)
def test_refusals(capsys, data, model, words, message):
    words = [word.format(data=data) for word in words]
    code, _, errors = run(capsys, model, "--data", data, *words)
    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1


def test_a_corrupt_image_is_named(capsys, data, model):
    (data / "train" / "dark" / "3.png").write_text("these are words")
    code, text, _ = run(capsys, model, "--data", data)
    assert code == 0
    assert f"1 cannot be read: {data}/train/dark/3.png\n" in text


def test_folder_of_corrupt_images(capsys, data, model):
    for path in data.rglob("*.png"):
        path.write_text("these are words")
    code, _, errors = run(capsys, model, "--data", data)
    assert code == 2
    assert "12 of 12 images of data/train cannot be read, the first:" in errors
    assert errors.count("\n") == 1
