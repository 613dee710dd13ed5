"""The k-NN protocol: which sets go together, and what its result says."""

import json

import numpy as np
import pytest
from PIL import Image
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.evaluate.knn_protocol import evaluate_knn, fitting_ks, knn_preset, open_train_test, score_knn
from lowzoo.evaluate.result import EvaluationResult, Figure
from lowzoo.zoo.resolve import Resolved

COLOURS = {"dark": (20, 128, 128), "mid": (128, 20, 128), "light": (128, 128, 20)}


def fill(folder, counts):
    rng = np.random.default_rng(len(str(folder)))
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.array(COLOURS[name]) + rng.integers(-9, 9, (16, 16, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.png")


@pytest.fixture
def divided(tmp_path):
    fill(tmp_path / "d" / "train", {"dark": 6, "light": 6, "mid": 6})
    fill(tmp_path / "d" / "val", {"light": 3, "mid": 3})
    return tmp_path / "d"


def network():
    pixels = nn.Sequential(nn.AvgPool2d(4), nn.Flatten())
    return Resolved(
        pixels.eval(), "pixels", "1", (3, 8, 8), (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0, "MIT", "none", True
    )


def test_classes_are_matched_by_name(divided):
    data = open_train_test(str(divided))
    assert data.bank.class_names == ("dark", "light", "mid")
    assert data.queries.labels.tolist() == [1, 1, 1, 2, 2, 2]
    result = evaluate_knn(network(), data, ks=[3])
    assert result.figures[0].mean == 100.0


def test_the_result_says_what_decides_the_figure(divided):
    result = evaluate_knn(network(), open_train_test(str(divided)))
    document = json.loads(result.to_json())
    assert document["settings"]["k"] == [10]  # of 10, 20, 100, 200 with a bank of 18
    assert document["settings"]["temperature"] == 0.07
    figure = document["figures"][0]
    assert (figure["metric"], figure["unit"], figure["seeds"], figure["std"]) == ("knn_top1_k10", "%", 1, None)
    assert figure["n"] == 6
    assert figure["interval95"][0] < figure["mean"] <= figure["interval95"][1] <= 100
    assert (document["protocol"], document["preset"]) == ("knn", "dino")
    assert len(document["model"]["weights"]) == 16
    assert document["data"]["bank"]["images"] == 18
    assert len(document["data"]["queries"]["fingerprint"]) == 16
    assert document["model"]["name"] == "pixels"
    assert set(document["versions"]) == {"lowzoo", "torch", "timm"}
    assert EvaluationResult.model_validate_json(result.to_json()).to_json() == result.to_json()
    assert evaluate_knn(network(), open_train_test(str(divided))).to_json() == result.to_json()


def test_the_settings_of_publications(divided):
    rob = score_knn(network(), open_train_test(str(divided)), preset=knn_preset("rob")).result
    assert (rob.settings["k"], rob.settings["temperature"]) == ([18], 0.1)  # k = 200 with a bank of 18
    assert knn_preset("dino").ks[0] == 20
    with pytest.raises(LowzooError, match="Choose of: dino, rob, seed, sslight"):
        knn_preset("msn")


def test_one_class_only(tmp_path):
    fill(tmp_path / "d" / "train", {"dark": 3})
    fill(tmp_path / "d" / "val", {"dark": 2})
    with pytest.raises(LowzooError, match="images of one class only"):
        evaluate_knn(network(), open_train_test(str(tmp_path / "d")))


def test_an_empty_class_is_no_class(divided):
    (divided / "train" / "aqua").mkdir()
    assert open_train_test(str(divided)).bank.class_names == ("dark", "light", "mid")


def test_the_catalog_takes_the_figures(divided):
    (metric,) = evaluate_knn(network(), open_train_test(str(divided)), ks=[3]).metrics("benchmarks/some.py")
    assert (metric.task, metric.value, metric.unit, metric.source) == ("knn_top1_k3", 100.0, "%", "measured here")
    assert metric.data == "bank: d/train, 18 images; queries: d/validation, 6 images"
    assert metric.protocol == "knn, dino"


def test_mean_and_spread_over_seeds():
    figure = Figure.accuracy("top1", [50.0, 52.0, 54.0], 100)
    assert (figure.mean, figure.std, figure.seeds) == (52.0, 2.0, 3)
    # Wilson's interval of 52 right of 100.
    assert figure.interval95 == (42.32, 61.54)


def test_a_class_that_the_bank_lacks(tmp_path):
    fill(tmp_path / "d" / "train", {"dark": 2})
    fill(tmp_path / "d" / "val", {"dark": 1, "mid": 1})
    with pytest.raises(LowzooError, match=r"holds 1 classes that d/train lacks, e.g. 'mid'"):
        open_train_test(str(tmp_path / "d"))


def test_the_same_images_twice(divided):
    with pytest.raises(LowzooError, match="bank and queries are the same images"):
        open_train_test(str(divided), "train", "train")


def test_a_folder_without_splits_is_divided(tmp_path):
    fill(tmp_path / "d", {"dark": 10, "light": 4, "mid": 1})
    data = open_train_test(str(tmp_path / "d"))
    assert np.bincount(data.queries.labels).tolist() == [2, 1]
    assert np.bincount(data.bank.labels).tolist() == [8, 3, 1]
    both = [source.where(i) for source in (data.bank, data.queries) for i in range(len(source))]
    assert len(set(both)) == 15
    result = evaluate_knn(network(), data, ks=[1])
    assert result.figures[0].mean == 100.0
    assert result.data["queries"].name == "d/train, a fifth of each class"
    again = open_train_test(str(tmp_path / "d"))
    assert again.queries.fingerprint() == data.queries.fingerprint() != data.bank.fingerprint()


def test_a_test_split_stands_in_for_validation(divided):
    (divided / "val").rename(divided / "test")
    assert open_train_test(str(divided)).queries.name == "d/test"
    with pytest.raises(LowzooError, match="no split 'validation'"):
        open_train_test(str(divided), "train", "validation")


def test_a_folder_without_labels(tmp_path):
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / split / f"{split}.png")
    with pytest.raises(LowzooError, match="has no labels"):
        open_train_test(str(tmp_path))


def test_numbers_of_neighbours():
    assert fitting_ks(None, 5000) == (10, 20, 100, 200)
    assert fitting_ks(None, 150) == (10, 20, 100)
    assert fitting_ks(None, 4) == (4,)
    assert fitting_ks([7, 1, 7], 9) == (1, 7)
    with pytest.raises(LowzooError, match="k = 10 neighbours cannot be found among 9"):
        fitting_ks([1, 10], 9)
