"""`lowzoo eval linear`, `lowshot` and `finetune` as a user types them."""

import json

import pytest
from PIL import Image

from tests.helpers.cli import runner
from tests.helpers.evaluate import write_pictures

SMALL = ("rob_vit_tiny", "--image-size", 32)


@pytest.fixture
def data(tmp_path):
    return write_pictures(tmp_path / "d", {"train": 12, "validation": 4})


run = runner("eval")


def test_linear(capsys, data, tmp_path):
    picture, out = tmp_path / "pictures" / "confusion.png", tmp_path / "linear.json"
    words = ("linear", *SMALL, "--data", data, "--features", "cls,pooled", "--lr", "0.1,0.3", "--weight-decay", 0)
    code, text, errors = run(capsys, *words, "--epochs", 5, "--confusion", picture, "--out", out, "--json")
    assert code == 0, errors
    document = json.loads(text)
    assert json.loads(out.read_text()) == document
    assert (document["protocol"], document["preset"]) == ("linear", "sweep")
    assert len(document["settings"]["tried"]) == 4
    assert document["figures"][0]["seeds"] == 3
    assert document["seconds"] > 0
    with Image.open(picture) as opened:
        assert opened.size[0] > 900


def test_linear_by_a_publication(capsys, data):
    words = ("linear", *SMALL, "--data", data, "--protocol", "dino", "--epochs", 2, "--batch-size", 16, "--repeats", 1)
    code, text, errors = run(capsys, *words)
    assert code == 0, errors
    assert "Chosen: features cls4, learning_rate 6.25e-05, weight_decay 0.0" in text
    assert [line.split()[0] for line in text.splitlines() if line.startswith("linear_")] == ["linear_top1"]


def test_linear_by_default_names_what_was_chosen(capsys, data):
    code, text, errors = run(capsys, "linear", *SMALL, "--data", data, "--features", "cls", "--weight-decay", 0.01)
    assert code == 0, errors
    assert "Chosen: features cls, weight_decay 0.01\n" in text


def test_probes_that_are_solved_for_have_no_seeds(capsys, data):
    code, _, errors = run(capsys, "linear", *SMALL, "--data", data, "--repeats", 3)
    assert code == 2
    assert len(errors.strip().splitlines()) == 1
    assert "--repeats is for probes that are trained" in errors


def test_lowshot(capsys, data):
    pytest.importorskip("sklearn")
    code, text, errors = run(capsys, "lowshot", *SMALL, "--data", data, "--shots", "1,3", "--share", 0)
    assert code == 0, errors
    lines = [line.split()[0] for line in text.splitlines() if line.startswith("lowshot_")]
    assert lines == ["lowshot_top1_1shot", "lowshot_top1_3shot"]


def test_finetune_starts_from_the_models_own_head(capsys, data):
    words = ("finetune", *SMALL, "--data", data, "--share", 0.5, "--epochs", 1, "--batch-size", 8, "--json")
    code, text, errors = run(capsys, *words)
    assert code == 0, errors
    settings = json.loads(text)["settings"]
    assert settings["projection_head"].endswith(".head.safetensors")
    assert settings["images"] == [18]
    code, text, _ = run(capsys, *words, "--protocol", "swav")
    assert json.loads(text)["settings"]["projection_head"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["linear", "--lr", "fast"], "--lr fast is no list of numbers"),
        (["linear", "--lr", "0"], "a learning rate must be above 0"),
        (["linear", "--protocol", "mae"], "unknown protocol 'mae'. Use --protocol"),
        (["linear", "--features", "pool2x1"], "has no features 'pool2x1'. Choose of: own, cls, cls4, pooled"),
        (["linear", "--epochs", "0"], "Invalid value for '--epochs'"),
        (["lowshot", "--shots", "99"], "99 images of each class are wanted, and the smallest class has 12"),
        (["lowshot", "--protocol", "seed"], "unknown protocol 'seed'. Use --protocol"),
        (["lowshot", "--split-list", "nowhere.txt"], "cannot read nowhere.txt as a list of images"),
        (["finetune", "--protocol", "rob"], "unknown protocol 'rob'. Use --protocol"),
        (["finetune", "--head", "nowhere.safetensors"], "nowhere.safetensors is no projection head"),
        (["knn", "--protocol", "msn"], "unknown protocol 'msn'. Use --protocol"),
    ],
)
def test_refusals(capsys, data, words, message):
    pytest.importorskip("sklearn")
    command, *options = words
    code, _, errors = run(capsys, command, *SMALL, "--data", data, *options)
    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1


def test_one_class_only(capsys, tmp_path):
    for split in ("train", "validation"):
        folder = tmp_path / "d" / split / "a"
        folder.mkdir(parents=True)
        Image.new("RGB", (20, 20), (len(split), 0, 0)).save(folder / f"{split}.png")
    for command in ("knn", "linear", "lowshot", "finetune"):
        code, _, errors = run(capsys, command, *SMALL, "--data", tmp_path / "d")
        assert code == 2
        assert "images of one class only" in errors


def test_labels_missing(capsys, tmp_path):
    for split in ("train", "validation"):
        (tmp_path / "d" / split).mkdir(parents=True)
        Image.new("RGB", (20, 20), (len(split), 0, 0)).save(tmp_path / "d" / split / f"{split}.png")
    for command in ("knn", "linear", "lowshot", "finetune"):
        code, _, errors = run(capsys, command, *SMALL, "--data", tmp_path / "d")
        assert code == 2
        assert "has no labels" in errors
