"""Every model of the catalog through everything that timm offers, on random weights."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import lowzoo
from lowzoo import catalog
from lowzoo.cards import model_cards

CARDS = Path(__file__).parents[2] / "model_cards"
PAIRS = [(entry, weights) for entry in catalog.models().values() for weights in entry.weights]


@pytest.fixture(scope="module", params=catalog.models())
def entry(request):
    return catalog.model(request.param)


@pytest.fixture(scope="module")
def model(entry):
    return timm.create_model(f"lowzoo/{entry.name}").eval()


@pytest.fixture(scope="module")
def image(entry):
    return torch.randn(1, *entry.default.input_size, generator=torch.Generator().manual_seed(0))


def test_features_parameters_and_configuration_are_as_stated(entry, model, image):
    with torch.no_grad():
        assert model(image).shape == (1, entry.feature_dim)
    assert sum(parameter.numel() for parameter in model.parameters()) == entry.default.params
    assert model.num_classes == 0
    cfg = model.pretrained_cfg
    assert (cfg["tag"], tuple(cfg["input_size"])) == (entry.default.tag, entry.default.input_size)
    assert cfg["architecture"] == (entry.architecture if entry.stock else entry.name)


@pytest.fixture(scope="module")
def small(model):
    """Arguments with which the network takes 64 px, where it has to be told; its own size is tried once."""
    return {"img_size": 64} if model.pretrained_cfg.get("fixed_input_size") else {}


def test_a_classifier_trains_together_with_the_backbone(entry, small):
    tuned = timm.create_model(f"lowzoo/{entry.name}", num_classes=10, **small).train()
    logits = tuned(torch.randn(2, 3, 64, 64))
    logits.square().mean().backward()
    assert logits.shape == (2, 10)
    without = [name for name, parameter in tuned.named_parameters() if parameter.grad is None]
    assert not without


def test_feature_maps_and_other_channels(entry, small):
    maps = timm.create_model(f"lowzoo/{entry.name}", features_only=True, **small).eval()
    grey = timm.create_model(f"lowzoo/{entry.name}", in_chans=1, **small).eval()
    with torch.no_grad():
        found = maps(torch.zeros(1, 3, 64, 64))
        assert [part.shape[1] for part in found] == maps.feature_info.channels()
        assert all(part.ndim == 4 for part in found)
        assert grey(torch.zeros(1, 1, 64, 64)).shape == (1, entry.feature_dim)


def test_other_sizes_where_the_architecture_allows(entry, model, small):
    with torch.no_grad():
        if small:
            other = timm.create_model(f"lowzoo/{entry.name}", **small).eval()
            moving = timm.create_model(f"lowzoo/{entry.name}", dynamic_img_size=True).eval()
            assert moving(torch.zeros(1, 3, 96, 64)).shape == (1, entry.feature_dim)
        else:
            other = model
        assert other(torch.zeros(1, 3, 64, 64)).shape == (1, entry.feature_dim)


@pytest.mark.slow
def test_the_state_dict_survives_safetensors(entry, model, tmp_path):
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    again = timm.create_model(f"lowzoo/{entry.name}")
    assert any(not torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items())
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items())


def test_the_lists_and_the_card_have_it(entry):
    assert timm.is_model(entry.name)
    for tag in entry.tags:
        assert f"{entry.name}.{tag}" in lowzoo.list_models(entry.name)
        assert timm.models.get_pretrained_cfg(f"{entry.name}.{tag}").tag == tag
    assert (CARDS / f"{entry.name}.md").read_text(encoding="utf-8") == model_cards.render_card(entry)


@pytest.mark.parametrize(("entry", "weights"), PAIRS, ids=[f"{entry.name}.{weights.tag}" for entry, weights in PAIRS])
def test_the_training_command_is_one_that_lowzoo_understands(entry, weights):
    if not weights.train:
        assert weights.origin == "published", "only what can be had may lack a command"
        return
    pytest.importorskip("lowzoo.train.settings.config")
    from lowzoo.train.command import default_layers
    from lowzoo.train.settings.config import resolve

    words = weights.train.split()
    assert words[:3] == ["lowzoo", "train", entry.recipe]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    choice = {name: given.get(f"--{name}") for name in ("loss", "method", "student")}
    layers = default_layers(entry.recipe, data=given["--data"], preset=given.get("--preset"), **choice)
    names = ("student", "teacher", "epochs", "method")
    options = {name: given[f"--{name}"] for name in names if f"--{name}" in given}
    config = resolve(layers, options=options)
    assert config.recipe == entry.recipe
    assert config.student == entry.student or given.get("--preset") == "tin100"
    if weights.origin != "bundled":
        assert config.epochs == weights.epochs
        assert weights.objective.startswith(config.method_name.split()[0][:4])
