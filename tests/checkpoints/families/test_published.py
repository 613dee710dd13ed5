"""Published checkpoints in timm's terms: names and shapes of every family, features of every network, misuse."""

import pytest
import timm
import torch

from lowzoo.base.errors import LowzooError
from lowzoo.checkpoints.families.published import FAMILIES, convert_checkpoint, family_in
from lowzoo.checkpoints.families.published import _converted as convert_content
from lowzoo.checkpoints.folder import convert_to_folder
from lowzoo.zoo.architectures.positions import set_position_rule
from tests.helpers.hostile import Runs
from tests.helpers.published_files import layouts, make_content, meta_content, save
from tests.helpers.published_networks import reference
from tests.helpers.slow import slow_but

# Where the published network and timm's agree to the bit.
EXACT = {name for name in FAMILIES if any(part in name for part in ("_r18", "_r34", "_r50", "mnv2"))}
# Every network once, but for the largest, which `benchmarks/conversions.py` goes through too.
COMPARED = [name for name in FAMILIES if name.startswith(("sslight", "seed"))] + [
    "dino_vits16", "dino_r50", "ibot_vits16", "msn_vits16", "swav_r50", "moco_v2_r50"
]  # fmt: skip


def test_there_is_a_family_for_every_recorded_layout():
    assert set(FAMILIES) == set(layouts())


@pytest.mark.parametrize("name", FAMILIES)
def test_every_name_finds_its_place_and_no_tensor_is_left(name, tmp_path):
    content = meta_content(name)
    path = tmp_path / "file"
    converted = convert_content(content, FAMILIES[name], path)
    with torch.device("meta"):
        model = timm.create_model(FAMILIES[name].architecture, num_classes=0, **FAMILIES[name].arguments)
    expected = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: value.shape for key, value in converted.state.items()} == expected
    assert family_in(content, path).name == name


@pytest.mark.parametrize("name", slow_but(COMPARED, ("seed_r18",)))
def test_features_are_those_of_the_authors_network(name, tmp_path):
    content, wanted = make_content(name)
    family = convert_to_folder(save(content, tmp_path / "checkpoint.pth.tar"), tmp_path / "model", name).family
    is_vit = family.architecture.startswith("vit")
    arguments = {"dynamic_img_size": True} if is_vit else {}
    model = timm.create_model(f"local-dir:{tmp_path / 'model'}", pretrained=True, **arguments).eval()
    # A ViT resamples its positions for the other size: plain timm by its own rule, the authors by theirs.
    for size, rule in [(224, "timm"), (96, "timm")] + ([(96, family.positions)] if is_vit else []):
        if rule != "timm":
            set_position_rule(model, rule)
        images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            found, expected = model(images), reference(name, positions=rule)(wanted, images)
        assert expected.std() > 1e-3, "the reference must not be constant"
        if name in EXACT:
            assert torch.equal(found, expected), size
        else:
            assert (found - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max())), (size, rule)


@pytest.mark.parametrize("name", ["seed_mobilenetv3_large", "seed_efficientnet_b1"])
def test_timms_own_network_would_load_and_be_wrong(name, tmp_path):
    content, wanted = make_content(name)
    state = convert_checkpoint(save(content, tmp_path / "file"), name).state
    model = timm.create_model({"seed_mobilenetv3_large": "mobilenetv3_large_100"}.get(name, "tf_efficientnet_b1"))
    model.reset_classifier(0)
    model.load_state_dict(state)
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert (model.eval()(images) - reference(name)(wanted, images)).abs().max() > 1e-2


def test_older_file_formats_and_other_prefixes_are_read(tmp_path):
    content, wanted = make_content("sslight_dino_r18")
    old = convert_checkpoint(save(content, tmp_path / "old", zipped=False), "sslight_dino_r18").state
    assert torch.equal(old["conv1.weight"], wanted["encoder.0.weight"])
    content, wanted = make_content("seed_r18")
    state = content["state_dict"]
    today = {key.replace("encoder_q.", "student.").replace("encoder_k.", "teacher."): state[key] for key in state}
    found = convert_checkpoint(save(content | {"state_dict": today}, tmp_path / "today"))
    assert found.family.name == "seed_r18"
    assert torch.equal(found.state["conv1.weight"], wanted["conv1.weight"])


def test_backbones_alone_are_recognised(tmp_path):
    _, wanted = make_content("dino_vits16")
    torch.save(wanted, tmp_path / "dino.pth")
    assert convert_checkpoint(tmp_path / "dino.pth").family.name == "dino_vits16"
    torch.save({"state_dict": wanted}, tmp_path / "ibot.pth")
    assert convert_checkpoint(tmp_path / "ibot.pth").family.name == "ibot_vits16"


def test_what_does_not_fit_is_refused_with_what_was_expected_and_found(tmp_path):
    content, _ = make_content("seed_r18")
    path = save(content, tmp_path / "seed.pth.tar")
    with pytest.raises(LowzooError, match=r"expected state_dict: module.student.backbone.\*, found epoch; arch;"):
        convert_checkpoint(path, "sslight_dino_r18")
    with pytest.raises(LowzooError, match=r"tensors are missing, first layer1.0.conv3.weight"):
        convert_checkpoint(path, "seed_r50")
    with pytest.raises(LowzooError, match=r"unknown family 'seed_r81' .near: seed_r18"):
        FAMILIES["seed_r81"]
    state = content["state_dict"]
    state["module.encoder_q.layer5.weight"] = torch.zeros(1)
    with pytest.raises(LowzooError, match=r"1 tensors are left over, first layer5.weight"):
        convert_checkpoint(save(content, path), "seed_r18")
    with pytest.raises(LowzooError, match="none of the published checkpoints that lowzoo knows"):
        convert_checkpoint(path)
    del state["module.encoder_q.layer5.weight"]
    state["module.encoder_q.conv1.weight"] = torch.zeros(64, 3, 3, 3)
    with pytest.raises(LowzooError, match=r"conv1.weight is 64 x 3 x 3 x 3 there, 64 x 3 x 7 x 7 expected"):
        convert_checkpoint(save(content, path), "seed_r18")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_checkpoint_does_nothing_and_is_refused(tmp_path, zipped):
    content, _ = make_content("seed_r18")
    path = save(content | {"args": Runs(tmp_path / "made")}, tmp_path / "hostile.pth.tar", zipped=zipped)
    with pytest.raises(LowzooError, match="could run code; it was not loaded") as error:
        convert_checkpoint(path)
    assert not (tmp_path / "made").exists()
    assert "\n" not in str(error.value)


def test_damaged_files_are_refused(tmp_path):
    content, _ = make_content("seed_r18")
    path = save(content, tmp_path / "seed.pth.tar")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for damaged in (path, tmp_path / "text"):
        (tmp_path / "text").write_text("no tensors")
        with pytest.raises(LowzooError, match="cannot be read as a torch checkpoint"):
            convert_checkpoint(damaged)
    with pytest.raises(LowzooError, match="there is no file"):
        convert_checkpoint(tmp_path / "nothing")


def test_files_are_mapped_and_no_code_in_them_runs(tmp_path, monkeypatch):
    """The teacher in a SEED file is larger than the student; a mapped file costs its student only."""
    asked = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: asked.append(kwargs) or load(*args, **kwargs))
    content, _ = make_content("seed_r18")
    state = convert_checkpoint(save(content, tmp_path / "seed.pth.tar"), "seed_r18").state
    assert [(kwargs["mmap"], kwargs["weights_only"]) for kwargs in asked] == [(True, True)]
    assert all(value.is_contiguous() for value in state.values())
