"""The linear protocol end to end on pictures whose colour is their class."""

import dataclasses
import json

import pytest
import timm
import torch
from PIL import Image

from lowzoo.base.errors import LowzooError
from lowzoo.evaluate.knn_protocol import TrainTestData, open_train_test
from lowzoo.evaluate.linear_probe import best_candidate, evaluate_linear
from lowzoo.evaluate.probes.settings import ProbeSettings
from lowzoo.features.extraction import Extraction
from lowzoo.features.feature_kinds import kinds_of, with_features
from lowzoo.zoo.resolve import Resolved
from tests.helpers.evaluate import pixel_network, write_pictures

HOW = Extraction(progress=False)


CACHED = ProbeSettings(
    learning_rates=(1e-6, 0.3), epochs=10, batch_size=32, norm="standardise", augmentation="none", nesterov=True
)


SOLVED = dataclasses.replace(CACHED, optimizer="lbfgs", weight_decays=(1e-3, 1e3))


def test_of_equal_accuracies_the_one_of_least_loss_is_kept():
    assert best_candidate([(35.0, 2.9), (34.9, 2.5)]) == 0
    assert best_candidate([(100.0, 0.3), (100.0, 0.2)]) == 1


def test_solved_probes_are_chosen_by_cross_validation_and_solved_once(data):
    first, again, other = (
        evaluate_linear(pixel_network(), data, SOLVED, repeats=3, seed=seed, how=HOW).result for seed in (0, 0, 7)
    )
    assert first.to_json() == again.to_json()
    assert (first.settings["folds"], first.settings["held_out"]) == (5, 0.2)
    assert first.settings["converged"]
    assert first.settings["chosen"] == {"features": "own", "learning_rate": None, "weight_decay": 1e-3}
    assert "learning_rates" not in first.settings
    assert (first.figures[0].seeds, first.figures[0].std) == (1, None)
    assert first.figures[0].mean > 70
    # The seed deals out the folds and has no part in the answer.
    assert other.settings["tried"] != first.settings["tried"]
    assert other.figures == first.figures


def test_probes_are_judged_on_images_they_were_not_fitted_to(tmp_path):
    # So noisy that a weak penalty only learns the training images by heart.
    noisy = open_train_test(str(write_pictures(tmp_path / "noisy", {"train": 9, "val": 3}, noise=90)))
    settings = dataclasses.replace(SOLVED, weight_decays=(1e-5, 1e-1))
    weak, strong = evaluate_linear(pixel_network(), noisy, settings, how=HOW).result.settings["tried"]
    assert weak["held_out_loss"] > strong["held_out_loss"] + 0.5


def test_the_better_rate_is_chosen_on_training_images_alone(data):
    scored = evaluate_linear(pixel_network(), data, CACHED, repeats=3, how=HOW)
    assert scored.result.settings["converged"] is None
    result = scored.result
    assert result.settings["chosen"]["learning_rate"] == 0.3
    tried = [candidate["held_out_top1"] for candidate in result.settings["tried"]]
    assert len(tried) == 2
    assert tried[1] > tried[0]
    (top1,) = result.figures
    assert (top1.metric, top1.seeds, top1.n) == ("linear_top1", 3, 30)
    assert top1.mean > 70
    assert scored.predictions.shape == scored.truth.shape == (30,)
    # Other labels of the test images change the figure and nothing else.
    other = TrainTestData(data.bank, dataclasses.replace(data.queries, labels=(data.queries.labels + 1) % 3))
    changed = evaluate_linear(pixel_network(), other, CACHED, repeats=3, how=HOW).result
    assert changed.settings == result.settings
    assert changed.figures[0].mean < 30


def test_the_same_seed_gives_the_same_document_and_another_one_stays_near(data):
    first, again = (evaluate_linear(pixel_network(), data, CACHED, repeats=3, how=HOW).result for _ in range(2))
    assert first.to_json() == again.to_json()
    other = evaluate_linear(pixel_network(), data, CACHED, repeats=3, seed=10, how=HOW).result
    assert other.settings["seed"] == 10
    assert abs(other.figures[0].mean - first.figures[0].mean) <= 10


@pytest.mark.slow
@pytest.mark.parametrize(("augmentation", "squash"), [("crop", False), ("flip", False), ("flip", True)])
def test_augmented_training(data, augmentation, squash):
    settings = ProbeSettings(
        learning_rates=(0.1,),
        epochs=8,
        batch_size=32,
        norm="batch",
        nesterov=True,
        augmentation=augmentation,
        squash=squash,
    )
    first, again = (evaluate_linear(pixel_network(), data, settings, how=HOW).result for _ in range(2))
    assert first.figures[0].mean > 70
    assert first.to_json() == again.to_json()
    assert first.settings["preprocessing"]["crop_mode"] == ("squash" if squash else "center")
    assert first.settings["tried"] == []
    assert json.loads(first.to_json())["settings"]["held_out"] is None


def test_images_that_cannot_be_read_are_left_out_of_augmented_training(tmp_path, data):
    (tmp_path / "d" / "train" / "red" / "red0.png").write_text("words")
    settings = ProbeSettings(learning_rates=(0.1, 0.2), epochs=2, batch_size=16, norm="batch")
    result = evaluate_linear(pixel_network(), open_train_test(str(tmp_path / "d")), settings, how=HOW).result
    assert (result.data["train"].images, result.data["train"].skipped) == (89, 1)
    assert result.data["train"].unreadable == (str(tmp_path / "d" / "train" / "red" / "red0.png"),)


def test_one_class_only(tmp_path):
    for split in ("train", "val"):
        folder = tmp_path / "one" / split / "a"
        folder.mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (9, 9), (i, 0 if split == "val" else 1, 0)).save(folder / f"{i}.png")
    with pytest.raises(LowzooError, match="images of one class only"):
        evaluate_linear(pixel_network(), open_train_test(str(tmp_path / "one")), CACHED, how=HOW)


def of_timm(name, **arguments):
    model = timm.create_model(name, num_classes=0, **arguments).eval()
    return Resolved(model, name, "", (3, 32, 32), (0,) * 3, (1,) * 3, "bilinear", 1.0, "", "", False)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("vit_tiny_patch16_224", {"img_size": 32}, {"own": 192, "cls": 192, "cls4": 768, "pooled": 192}),
        ("resnet18", {}, {"own": 512, "pooled": 512, "pool2x1": 1024, "pool2x2": 2048}),
        ("lowzoo/rob_mobilenetv3_large", {}, {"own": 960, "pooled": 960, "pool2x1": 1920, "pool2x2": 3840}),
    ],
)
def test_features_of_several_kinds_from_one_pass(name, arguments, expected):
    resolved = of_timm(name, **arguments)
    assert tuple(kinds_of(resolved.model)) == tuple(expected)
    wide, network = with_features(resolved, tuple(expected))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        own, *others = network.outputs(images)
        torch.testing.assert_close(own, resolved.model(images))
        torch.testing.assert_close(others[0], own)
        assert torch.equal(wide.model(images), torch.cat([own, *others], dim=1))
    assert network.widths((3, 32, 32), "cpu") == list(expected.values())


def test_features_that_a_network_does_not_have():
    with pytest.raises(LowzooError, match=r"has no features 'cls'. Choose of: own, pooled, pool2x1, pool2x2"):
        with_features(of_timm("resnet18"), ["cls"])
