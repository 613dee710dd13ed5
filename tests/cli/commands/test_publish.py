"""`lowzoo publish` without a network: the cards it writes, and everything that it refuses before it asks the Hub."""

import json

import pytest
import timm
from huggingface_hub import ModelCard
from safetensors.torch import save_file

import lowzoo  # noqa: F401
from lowzoo.checkpoints.folder import write_model_folder
from lowzoo.cli import main as cli

FACTS = {
    "recipe": "rob",
    "method": "RoB-DINO",
    "student": "vit_tiny",
    "architecture": "vit_tiny_patch16_224",
    "size": 64,
    "features": 192,
    "teacher": {
        "name": "dino_vits16",
        "architecture": "vit_small_patch16_224",
        "revision": "sha256:0123",
        "training": "self-supervised (DINO), ImageNet-1k",
        "license": "Apache-2.0",
        "derivatives_may_be_published": True,
        "head": "own (dino)",
        "extension": False,
    },
    "data": {"name": "some photographs", "images": 1234, "fingerprint": "abcd", "unreadable": 0},
    "epochs": 8,
    "steps": 1000,
    "batch_size": 64,
    "result": {"loss": 3.0, "knn": 41.5, "knn_init": 5.0},
    "versions": {"torch": "2.15"},
}


@pytest.fixture
def run_folder(tmp_path):
    """A finished run: model, configuration, facts, and a projection head beside them."""
    folder = tmp_path / "run"
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64)
    cfg = {
        "input_size": (3, 64, 64),
        "mean": (0.5,) * 3,
        "std": (0.5,) * 3,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
    }
    state = model.state_dict()
    write_model_folder(folder, state, "vit_tiny_patch16_224", cfg=cfg, arguments={"img_size": 64}, facts={})
    save_file({"mlp.0.weight": state["norm.weight"].clone()}, folder / "head.safetensors")
    (folder / "run.json").write_text(json.dumps(FACTS))
    return folder


def publish(capsys, folder, *words):
    with pytest.raises(SystemExit) as error:
        cli.main(["publish", str(folder), "--repo", "me/mine", "--dry-run", *words])
    captured = capsys.readouterr()
    return error.value.code, captured.out, captured.err


def _facts(folder, **changes):
    (folder / "run.json").write_text(json.dumps(FACTS | changes))


def _teacher(**changes):
    return {"teacher": FACTS["teacher"] | changes}


def test_the_card_of_a_run_states_what_the_run_states(capsys, run_folder):
    status, card, err = publish(capsys, run_folder, "--license", "Apache-2.0")
    assert (status, err) == (0, "")
    data = ModelCard(card).data
    assert (data.license, data.library_name) == ("apache-2.0", "timm")
    assert [(result.metric_value, result.dataset_name) for result in data.eval_results] == [(41.5, "some photographs")]
    for fact in (
        'timm.create_model("hf-hub:me/mine", pretrained=True)',
        "some photographs, 1,234 images",
        "dino_vits16",
        "8 epochs, 1000 steps of 64 images",
        "41.50 %",
        "arxiv.org/abs/2301.09451",
        "torch.zeros(1, 3, 64, 64))  # (1, 192)",
    ):
        assert fact in card
    assert "Needs lowzoo" not in card


def test_a_run_without_teacher_or_figures(capsys, run_folder):
    _facts(run_folder, teacher=None, recipe="sslight", method="DINO", result={"knn": None})
    status, card, _ = publish(capsys, run_folder, "--license", "MIT")
    assert status == 0
    assert "**Teacher**: none." in card
    assert "No figures have been measured." in card
    assert "model-index" not in card


@pytest.mark.parametrize(
    ("changes", "words", "message"),
    [
        ({}, [], "the card needs the licence of the weights"),
        ({"epochs": None, "data": None}, ["--license", "MIT"], "run.json lacks data, epochs"),
        (_teacher(license=""), ["--license", "MIT"], "does not state training and licence of the teacher dino_vits16"),
        (_teacher(training=""), ["--license", "MIT"], "does not state training and licence"),
        (
            _teacher(license="CC-BY-ND-4.0", derivatives_may_be_published=None),
            ["--license", "MIT"],
            "forbids publishing",
        ),
        (_teacher(derivatives_may_be_published=False), ["--license", "MIT"], "forbids publishing"),
        (_teacher(license="NOASSERTION", derivatives_may_be_published=None), ["--license", "MIT"], "nobody states"),
        (
            _teacher(license="CC-BY-NC-4.0"),
            ["--license", "MIT"],
            "which MIT would not keep to. Name --license CC-BY-NC",
        ),
        ({"recipe": "rib"}, ["--license", "MIT"], "unknown recipe rib"),
    ],
)
def test_what_a_card_cannot_state_is_not_published(capsys, run_folder, changes, words, message):
    _facts(run_folder, **changes)
    status, out, err = publish(capsys, run_folder, *words)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_other_folders_need_a_name_of_the_zoo_that_fits(capsys, run_folder, tmp_path):
    (run_folder / "run.json").unlink()
    assert "holds no run.json" in publish(capsys, run_folder)[2]
    assert "is a resnet18" in publish(capsys, run_folder, "--model", "sslight_dino_resnet18")[2]
    assert "so a folder cannot be it" in publish(capsys, run_folder, "--model", "rob_vit_small")[2]
    model = ["--model", "sslight_dino_vit_tiny.baseline_in1k"]
    assert "stands under Apache-2.0, not under MIT" in publish(capsys, run_folder, *model, "--license", "MIT")[2]
    status, card, _ = publish(capsys, run_folder, *model)
    assert status == 0
    assert "66.7 %" in card
    assert "fwtan/sslight_checkpoints" in card
    assert "no model folder" in publish(capsys, tmp_path / "nothing")[2]


def test_a_nonsensical_repository_name(capsys, run_folder):
    with pytest.raises(SystemExit) as error:
        cli.main(["publish", str(run_folder), "--repo", "mine", "--license", "MIT"])
    assert error.value.code == 2
    assert "mine is no repository name. Write --repo ORG/NAME" in capsys.readouterr().err
