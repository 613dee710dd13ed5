"""The word MODEL: everything it may mean, and one clear error for everything else."""

import json
import shutil

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.zoo.find import architecture_of, find
from lowzoo.zoo.resolve import load_model
from tests.helpers.hostile import Runs

BUNDLED = catalog.model("rob_vit_tiny").default
SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    # Both are read when huggingface_hub is imported, which is before this test.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def _model_folder(folder, *, num_classes=0, **top_level):
    """A folder as a finished run leaves it: the backbone, its configuration, and the projection head beside it."""
    folder.mkdir(parents=True)
    model = timm.create_model("resnet18", num_classes=num_classes)
    save_file(model.state_dict(), folder / "model.safetensors")
    save_file({"head.weight": torch.zeros(2, 2)}, folder / "head.safetensors")
    cfg = {
        "input_size": [3, 64, 64],
        "crop_pct": 0.5,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "interpolation": "bilinear",
        "num_classes": num_classes,
        "first_conv": "conv1",
        "classifier": "fc",
    }
    config = {"architecture": "resnet18", "num_classes": num_classes, "pretrained_cfg": cfg, **top_level}
    (folder / "config.json").write_text(json.dumps(config))
    return model.eval()


def test_a_zoo_name():
    resolved = load_model("lowzoo/rob_vit_tiny")
    assert resolved.name == "rob_vit_tiny.mobilenetv2_sup_tin100"
    assert resolved.revision.startswith("sha256:")
    assert (resolved.input_size, resolved.interpolation, resolved.crop_pct) == ((3, 128, 128), "bicubic", 1.0)
    assert (resolved.license, resolved.recipe, resolved.trained) == ("Apache-2.0", "rob", True)
    assert not resolved.model.training
    assert torch.equal(resolved.model.pos_embed, load_file(BUNDLED.path)["pos_embed"].float())
    assert resolved.model(torch.zeros(2, 3, 128, 128)).shape == (2, 192)


def test_another_image_size():
    resolved = load_model("rob_vit_tiny", image_size=128)
    assert resolved.input_size == (3, 128, 128)
    assert resolved.model(torch.zeros(1, 3, 128, 128)).shape == (1, 192)
    convolutional = load_model("rob_mobilenetv3_large", image_size=64, pretrained=False)
    assert convolutional.input_size == (3, 64, 64)
    assert convolutional.model(torch.zeros(1, 3, 64, 64)).shape == (1, 960)


def test_a_random_twin_depends_on_the_seed_alone():
    state = torch.random.get_rng_state()
    first = load_model("rob_vit_tiny", pretrained=False)
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's random numbers are left alone"
    torch.manual_seed(99)
    again = load_model("rob_vit_tiny", pretrained=False)
    other = load_model("rob_vit_tiny", pretrained=False, seed=1)
    assert torch.equal(first.model.pos_embed, again.model.pos_embed)
    assert not torch.equal(first.model.pos_embed, other.model.pos_embed)
    assert (first.name, first.trained, first.license, first.recipe) == ("rob_vit_tiny", False, "", "")
    assert first.revision == "random initialisation, seed 0"


def test_a_timm_name_without_weights_wanted():
    resolved = load_model("resnet18", pretrained=False)
    assert resolved.name == "resnet18"
    assert resolved.model(torch.zeros(1, 3, 64, 64)).shape == (1, 512)


def test_a_run_folder_gives_the_backbone_and_not_the_head_beside_it(tmp_path):
    written = _model_folder(tmp_path / "run", lowzoo={"recipe": "rob", "license": "MIT", "name": "mine"})
    resolved = load_model(str(tmp_path / "run"))
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(resolved.model(image), written(image))
    assert (resolved.input_size, resolved.mean, resolved.crop_pct) == ((3, 64, 64), (0.5, 0.5, 0.5), 0.5)
    assert (resolved.name, resolved.recipe, resolved.license) == ("mine", "rob", "MIT")
    assert load_model(f"local-dir:{tmp_path / 'run'}").revision == resolved.revision


def test_a_folder_with_a_classifier_gives_the_features_before_it(tmp_path):
    written = _model_folder(tmp_path / "run", num_classes=5)
    image = torch.rand(1, 3, 64, 64)
    expected = written.forward_head(written.forward_features(image), pre_logits=True)
    assert torch.equal(load_model(str(tmp_path / "run")).model(image), expected)


def test_a_zoo_architecture_in_a_folder(tmp_path):
    tmp_path.joinpath("run").mkdir()
    model = timm.create_model("lowzoo/rob_mobilenetv3_large").eval()
    timm.models.save_for_hf(model, tmp_path / "run", safe_serialization=True)
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(load_model(str(tmp_path / "run")).model(image), model(image))


def test_a_hub_repository_from_the_cache(tmp_path):
    repository = tmp_path / "hub" / "models--someone--thing"
    written = _model_folder(repository / "snapshots" / SHA)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(SHA)
    image = torch.rand(1, 3, 64, 64)
    for word in ("hf-hub:someone/thing", f"hf-hub:someone/thing@{SHA}"):
        resolved = load_model(word)
        assert (resolved.name, resolved.revision) == ("hf-hub:someone/thing", SHA)
        assert torch.equal(resolved.model(image), written(image))


def test_a_timm_model_from_the_cache(tmp_path):
    repository = tmp_path / "hub" / "models--timm--resnet18.a1_in1k"
    written = _model_folder(repository / "snapshots" / SHA, num_classes=1000)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(SHA)
    resolved = load_model("resnet18")
    assert (resolved.name, resolved.revision, resolved.license) == ("resnet18.a1_in1k", SHA, "apache-2.0")
    assert torch.equal(resolved.model.conv1.weight, written.conv1.weight)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("rob_vit_tny", r"unknown model rob_vit_tny \(near: rob_vit_tiny"),
        ("lowzoo/rob_vit_tny", "near: rob_vit_tiny"),
        ("vit_tiny", "near: vit_tiny_patch16_224"),
        ("rob_vit_tiny.dino_vits16_in1k", "are not published"),
        ("resnet18.a1_in1", r"timm has no weights resnet18.a1_in1 \(near: resnet18.a1_in1k"),
        ("resnet18", "timm/resnet18.a1_in1k is not in the local cache and the Hub cannot be reached"),
        ("vit_tiny_patch16_18", "unknown model vit_tiny_patch16_18 .near: vit_tiny_patch16_"),
        ("no/such/folder", "no model folder no/such/folder"),
        ("hf-hub:someone/else", "someone/else is not in the local cache"),
        ("hf-hub:a//b", "is no model of the Hub"),
    ],
)
def test_words_that_mean_nothing_here(word, message):
    with pytest.raises(LowzooError, match=message) as error:
        load_model(word)
    assert error.value.remedy
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("size", "message"), [(100, "no multiple of the patch size"), (0, "impossible"), (-5, "impossible")]
)
def test_impossible_sizes(size, message):
    with pytest.raises(LowzooError, match=message):
        load_model("rob_vit_tiny", image_size=size)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_configuration_that_another_editor_saved(tmp_path, encoding):
    model = _model_folder(tmp_path / "m", label="Hündin")
    config = tmp_path / "m" / "config.json"
    config.write_bytes(json.dumps(json.loads(config.read_text()), ensure_ascii=False, indent=1).encode(encoding))
    resolved = load_model(str(tmp_path / "m"))
    assert (resolved.input_size, resolved.mean) == ((3, 64, 64), (0.5, 0.5, 0.5))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(resolved.model(image), model(image))


def _spoil(folder, what):
    weights = folder / "model.safetensors"
    config = json.loads((folder / "config.json").read_text())
    if what == "no weights":
        weights.unlink()
    elif what == "truncated weights":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif what == "another model's weights":
        shutil.copyfile(BUNDLED.path, weights)
    elif what == "half the weights":
        tensors = load_file(weights)
        save_file({name: tensors[name] for name in list(tensors)[:50]}, weights)
    elif what == "no JSON":
        (folder / "config.json").write_text("{")
    elif what == "no architecture":
        del config["architecture"]
        (folder / "config.json").write_text(json.dumps(config))
    else:
        (folder / "config.json").write_text(json.dumps(config | {"architecture": "resnet_of_tomorrow"}))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no weights", "holds no model.safetensors"),
        ("truncated weights", "is damaged"),
        (
            "another model's weights",
            "does not hold a resnet18, which config.json names: 100 of 120 tensors are missing",
        ),
        ("half the weights", r"does not hold a resnet18, which config.json names: \d+ of 120 tensors are missing"),
        ("no JSON", "is not timm's model configuration"),
        ("no architecture", "is not timm's model configuration"),
        ("unknown architecture", "unknown architecture resnet_of_tomorrow"),
    ],
)
@pytest.mark.parametrize("num_classes", [0, 5])
def test_spoilt_folders(tmp_path, what, message, num_classes):
    _model_folder(tmp_path / "run", num_classes=num_classes)
    _spoil(tmp_path / "run", what)
    with pytest.raises(LowzooError, match=message):
        load_model(str(tmp_path / "run"))


def test_a_folder_as_timm_writes_it_by_default(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=5).eval()
    save_for_hf(network, tmp_path / "m", model_config={"label_names": ["a", "b", "c", "d", "e"]})
    assert sorted(file.name for file in (tmp_path / "m").iterdir()) == ["config.json", "pytorch_model.bin"]
    image = torch.randn(1, 3, 160, 160)
    with torch.no_grad():
        found = load_model(str(tmp_path / "m"), classes=True)
        assert torch.equal(found.model(image), network(image))
        headless = load_model(f"local-dir:{tmp_path / 'm'}")
        assert torch.equal(
            headless.model(image), network.forward_head(network.forward_features(image), pre_logits=True)
        )
    assert headless.source == f"local-dir:{(tmp_path / 'm').resolve()}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"epoch": 3, "model": {"a": torch.ones(1)}}, "holds more than the tensors of a network"),
        ({"conv1.weight": torch.ones(3)}, "does not fit the architecture|lacks|does not hold"),
        ({"args": Runs("made")}, "could run code; it was not loaded"),
    ],
)
def test_a_pickle_in_a_folder_that_is_no_network_is_refused(tmp_path, monkeypatch, content, said):
    monkeypatch.chdir(tmp_path)
    save_for_hf(timm.create_model("test_resnet"), tmp_path / "m")
    torch.save(content, tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(LowzooError, match=said):
        load_model(str(tmp_path / "m"))
    assert not (tmp_path / "made").exists()


def test_a_file_of_a_teacher_is_that_teacher_whether_weights_are_wanted_or_not(tmp_path):
    file = tmp_path / "dino.pth"
    file.write_bytes(b"")
    assert architecture_of(f"dino_vits16@{file}") == "vit_small_patch16_224"
    for word, message in (
        (f"dino_vits16@{tmp_path / 'missing'}", "missing of teacher dino_vits16 does not exist"),
        ("dino_vits16@", "dino_vits16@ names no file"),
    ):
        for pretrained in (True, False):
            with pytest.raises(LowzooError, match=message) as caught:
                find(word, pretrained=pretrained)
            assert "dino_vits16@FILE" in caught.value.remedy
