"""The models through timm: what the headline line gives, and that every other name is left alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import _factory

import lowzoo
from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.zoo.hook import register_with_timm

BUNDLED = catalog.model("rob_vit_tiny").default
HEADLINE = "lowzoo/rob_vit_tiny"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a test went to the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


@pytest.fixture(scope="module")
def file_tensors():
    return load_file(BUNDLED.path)


def test_headline_gives_the_bundled_weights_in_float32(file_tensors):
    model = timm.create_model(HEADLINE, pretrained=True)
    state = model.state_dict()
    assert state.keys() == file_tensors.keys()
    for name, tensor in state.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, file_tensors[name].float()), name
    with torch.no_grad():
        assert model.eval()(torch.zeros(2, 3, 128, 128)).shape == (2, 192)


def test_all_spellings_mean_the_same_weights(file_tensors):
    for name in ("rob_vit_tiny", "lowzoo/rob_vit_tiny.mobilenetv2_sup_tin100", "rob_vit_tiny.mobilenetv2_sup_tin100"):
        assert torch.equal(timm.create_model(name, pretrained=True).pos_embed, file_tensors["pos_embed"].float())
    assert torch.equal(
        lowzoo.create_model("rob_vit_tiny", pretrained=True).pos_embed, file_tensors["pos_embed"].float()
    )


def test_new_classes_get_a_fresh_head_on_the_same_backbone(file_tensors):
    model = timm.create_model(HEADLINE, pretrained=True, num_classes=10)
    assert model.head.weight.shape == (10, 192)
    assert torch.equal(model.norm.weight, file_tensors["norm.weight"].float())
    assert model(torch.zeros(1, 3, 128, 128)).shape == (1, 10)


def test_one_input_channel_is_the_sum_of_three(file_tensors):
    model = timm.create_model(HEADLINE, pretrained=True, in_chans=1)
    expected = file_tensors["patch_embed.proj.weight"].float().sum(1, keepdim=True)
    assert torch.allclose(model.patch_embed.proj.weight, expected, atol=1e-3)  # timm sums in the file's half precision
    assert model(torch.zeros(1, 1, 128, 128)).shape == (1, 192)


def test_another_image_size_resamples_the_positions(file_tensors):
    model = timm.create_model(HEADLINE, pretrained=True, img_size=160)
    assert model.pos_embed.shape == (1, 101, 192)
    assert torch.allclose(model.pos_embed[:, 0], file_tensors["pos_embed"].float()[:, 0])
    assert model(torch.zeros(1, 3, 160, 160)).shape == (1, 192)


def test_features_only_gives_maps():
    model = timm.create_model(HEADLINE, pretrained=True, features_only=True)
    assert [maps.shape for maps in model(torch.zeros(1, 3, 128, 128))] == [(1, 192, 8, 8)] * 3


def test_cache_dir_is_accepted_and_changes_nothing(tmp_path):
    model = timm.create_model(HEADLINE, pretrained=True, cache_dir=tmp_path)
    usual = timm.create_model(HEADLINE, pretrained=True).state_dict()
    assert all(torch.equal(value, usual[key]) for key, value in model.state_dict().items())


def test_unpublished_weights_are_refused_with_the_command_that_makes_them():
    for name in lowzoo.list_models():
        entry, weights = catalog.find(name)
        if not weights.available:
            with pytest.raises(LowzooError, match=r"are not published|cannot be had: the authors' page") as error:
                timm.create_model(f"lowzoo/{name}", pretrained=True)
            assert weights.train.startswith(f"lowzoo train {entry.recipe} ")
            assert f" --student {entry.student} --teacher {weights.teacher} " in weights.train
            assert weights.train in error.value.remedy


@pytest.mark.parametrize("name", [name for name in lowzoo.list_models(pretrained=True) if name.startswith("s")])
def test_published_weights_without_network_fail_in_one_line_that_tells_what_to_run(name, tmp_path, monkeypatch):
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(LowzooError) as error:
        timm.create_model(f"lowzoo/{name}", pretrained=True)
    message = str(error.value)
    assert "\n" not in message
    assert f"the weights {name} cannot be had" in message
    assert f"Run `lowzoo download {name}` where there is a network" in message
    assert "sig=" not in message, "the signature is not for error messages"
    assert not list(tmp_path.rglob("*.safetensors"))


def test_unknown_names_list_the_near_ones():
    with pytest.raises(LowzooError, match=r"lowzoo/rob_vit_tny \(near: rob_vit_tiny"):
        timm.create_model("lowzoo/rob_vit_tny")
    with pytest.raises(LowzooError, match="near: mobilenetv2_sup_tin100"):
        timm.create_model("lowzoo/rob_vit_tiny.mobilenetv2_sup")
    with pytest.raises(LowzooError, match="has no weights named nonsense"):
        timm.create_model("rob_vit_tiny.nonsense", pretrained=True)
    with pytest.raises(LowzooError, match="unknown model lowzoo/resnet18"):
        timm.create_model("lowzoo/resnet18")


def _outcome(function, name):
    try:
        return function(name)
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize(
    "name",
    ["resnet18", "x/resnet18", "resnet18.a1_in1k", "hf-hub:timm/resnet18", "hf_hub:timm/resnet18", "local-dir:/a/b",
     "s3://bucket/x", "rob_vit_tiny", "xlowzoo/rob_vit_tiny", "C:\\x", ""],
)  # fmt: skip
def test_other_names_reach_timm_untouched(name):
    assert _outcome(_factory.parse_model_name, name) == _outcome(_factory.parse_model_name.__wrapped__, name)


def test_timm_lists_the_models():
    names = sorted(catalog.models())
    assert timm.list_models("rob_resnet*") == ["rob_resnet18", "rob_resnet34", "rob_resnet50"]
    assert timm.list_models("rob_*", pretrained=True) == [
        "rob_mobilenetv3_large.mobilenetv2_sup_tin100",
        "rob_vit_tiny.mobilenetv2_sup_tin100",
    ]
    assert sorted(timm.list_models(module="zoo")) == names
    available = sorted(lowzoo.list_models(pretrained=True))
    assert sorted(name for model in names for name in timm.list_models(f"{model}.*", pretrained=True)) == available
    assert timm.is_model("rob_resnet18")


def test_registering_again_changes_nothing(recwarn):
    parse, entry_point = _factory.parse_model_name, timm.models.model_entrypoint("rob_vit_tiny")
    register_with_timm()
    assert _factory.parse_model_name is parse
    assert timm.models.model_entrypoint("rob_vit_tiny") is entry_point
    assert not [warning for warning in recwarn if "Overwriting" in str(warning.message)]


def test_a_truncated_file_is_refused(tmp_path):
    damaged = tmp_path / "model.safetensors"
    damaged.write_bytes(BUNDLED.path.read_bytes()[:100_000])
    with pytest.raises(LowzooError, match="is damaged"):
        timm.create_model(HEADLINE, pretrained=True, pretrained_cfg_overlay={"file": str(damaged)})
    damaged.write_text("not tensors")
    with pytest.raises(LowzooError, match="is damaged"):
        timm.create_model(HEADLINE, pretrained=True, num_classes=5, pretrained_cfg_overlay={"file": str(damaged)})
    with pytest.raises(LowzooError, match="is missing"):
        timm.create_model(HEADLINE, pretrained=True, pretrained_cfg_overlay={"file": str(tmp_path / "no.safetensors")})
    with pytest.raises(LowzooError, match="not a safetensors file"):
        timm.create_model(HEADLINE, pretrained=True, pretrained_cfg_overlay={"file": str(tmp_path / "model.pt")})


def test_an_overlay_can_bring_other_weights(tmp_path):
    source = timm.create_model("rob_vit_tiny")
    save_file(source.state_dict(), tmp_path / "mine.safetensors")
    overlay = {"file": str(tmp_path / "mine.safetensors")}
    model = timm.create_model(HEADLINE, pretrained=True, pretrained_cfg_overlay=overlay)
    assert torch.equal(model.norm.weight, source.norm.weight)
    assert torch.equal(model.pos_embed, source.pos_embed)


def _run(code: str, cwd: Path) -> dict:
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_importing_lowzoo_first_waits_for_timm(tmp_path):
    code = """
import importlib.util, json, sys
import lowzoo
light = not {"timm", "torch", "numpy", "pydantic"} & set(sys.modules)
spec = importlib.util.find_spec("timm")
looked = "timm" not in sys.modules and bool(spec.loader.get_source("timm"))
import timm.models
shape = list(timm.create_model("lowzoo/rob_vit_tiny", pretrained=True).pos_embed.shape)
restored = timm.__loader__ is timm.__spec__.loader and type(timm.__loader__).__module__ != "lowzoo.zoo.hook"
left = [finder for finder in sys.meta_path if type(finder).__module__ == "lowzoo.zoo.hook"]
print(json.dumps(dict(light=light, looked=looked, shape=shape, restored=restored, left=len(left))))
"""
    assert _run(code, tmp_path) == {"light": True, "looked": True, "shape": [1, 65, 192], "restored": True, "left": 0}


@pytest.mark.slow
def test_importing_timm_first_and_saving_for_the_hub(tmp_path):
    model = timm.create_model(HEADLINE, pretrained=True)
    timm.models.save_for_hf(model, tmp_path / "saved", safe_serialization=True)
    code = """
import json, sys
import timm
alone = timm.create_model("local-dir:saved", pretrained=True)
assert "lowzoo" not in sys.modules
import lowzoo, torch
theirs = timm.create_model("lowzoo/rob_vit_tiny", pretrained=True).eval()
image = torch.linspace(-1, 1, 3 * 128 * 128).reshape(1, 3, 128, 128)
print(json.dumps({"same": torch.equal(alone.eval()(image), theirs(image)), "models": lowzoo.list_models("rob_vit*")}))
"""
    result = _run(code, tmp_path)
    assert result["same"], "weights saved from a zoo model must load in timm without lowzoo"
    assert result["models"][0] == "rob_vit_tiny.mobilenetv2_sup_tin100"
