"""Teachers from other people's checkpoints: filled by name and completely, never unpickled."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from torch.testing import assert_close

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.checkpoints.early import refuse_early
from lowzoo.checkpoints.files.torch_file import read_torch_file
from lowzoo.io import download
from lowzoo.train.heads.files import ends_in_embedding, load_head, save_head
from lowzoo.train.monitoring.progress import Progress
from lowzoo.train.teachers import brings_head, fit_teacher_head, load_teacher, loading
from lowzoo.train.teachers.published import load_published
from lowzoo.zoo.architectures.wide_resnet import WideResNet50
from lowzoo.zoo.resolve import load_model
from tests.helpers.teacher_files import FAMILIES, NARROW, OUTPUTS, SIDE, head_output, make_checkpoint, small_entry
from tests.helpers.train import config_of, make_pictures, make_teacher, start

_STAGES = (1, 2, 3, 4, 3, 3, 1)


@pytest.fixture
def small_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalog's names, for small networks."""
    small = {FAMILIES[family]: small_entry(family) for family in FAMILIES}
    full = catalog.teachers()
    monkeypatch.setattr(catalog, "teachers", lambda: {**full, **small})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_published_file_gives_the_teacher_branch_with_its_head(
    family: str, tmp_path: Path, small_catalog: None
) -> None:
    backbone, tensors = make_checkpoint(family, tmp_path / "file.pth")
    teacher = load_teacher(FAMILIES[family], size=SIDE, file=str(tmp_path / "file.pth"))
    views = torch.randn(2, 3, 3, SIDE, SIDE)
    with torch.no_grad():
        features = backbone(views.flatten(0, 1)).unflatten(0, (2, 3))
        expected = head_output(family, tensors, features)
    # The student branch, the key encoder and the optimiser hold other values: they would not pass.
    assert_close(teacher(views), expected, rtol=1e-4, atol=1e-5)
    narrow = teacher.bottleneck(views)
    assert narrow.shape == (2, 3, NARROW) == (2, 3, teacher.bottleneck_width)
    assert torch.equal(teacher.scores(narrow), teacher(views))
    outputs = NARROW if family in ("moco", "simclr") else OUTPUTS
    assert (teacher.facts.head, teacher.facts.prototypes) == (f"own ({family})", outputs)
    assert teacher.facts.license == catalog.teacher(FAMILIES[family]).license
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher.train().training


def test_an_ibot_teacher_scores_patches(tmp_path: Path, small_catalog: None) -> None:
    backbone, tensors = make_checkpoint("ibot", tmp_path / "file.pth")
    teacher = load_teacher("ibot_vits16", size=SIDE, file=str(tmp_path / "file.pth"))
    views = torch.randn(2, 3, 3, SIDE, SIDE)
    cls, patches = teacher.forward_patches(views)
    with torch.no_grad():
        tokens = backbone.forward_features(views.flatten(0, 1)).unflatten(0, (2, 3))  # type: ignore[operator]
    expected = head_output("ibot", tensors, tokens)
    assert_close(cls, expected[:, :, 0], rtol=1e-4, atol=1e-5)
    assert_close(patches, expected[:, :, 1:], rtol=1e-4, atol=1e-5)
    assert_close(cls, teacher(views))
    make_checkpoint("dino", tmp_path / "dino.pth")
    with pytest.raises(LowzooError, match="scores no patches"):
        load_teacher("dino_vits16", size=SIDE, file=str(tmp_path / "dino.pth")).forward_patches(views)


@pytest.mark.parametrize("family", ["dino", "msn"])
def test_a_published_vit_takes_other_sizes_by_its_familys_rule(
    family: str, tmp_path: Path, small_catalog: None
) -> None:
    make_checkpoint(family, tmp_path / "file.pth")
    teacher = load_teacher(FAMILIES[family], size=SIDE, head="fitted", file=str(tmp_path / "file.pth"))
    plain = timm.create_model("test_vit", num_classes=0, img_size=SIDE, dynamic_img_size=True).eval()
    plain.load_state_dict(teacher.backbone.state_dict())
    images = torch.randn(2, 3, SIDE // 2, SIDE // 2)
    with torch.no_grad():
        assert (teacher.backbone(images) - plain(images)).abs().max() > 1e-2
        large = torch.randn(2, 3, SIDE, SIDE)
        assert_close(teacher.backbone(large), plain(large))


def test_the_head_of_dinos_resnet_may_differ_from_the_code(tmp_path: Path) -> None:
    """Two layers with batch norm, and a plain last layer, as issue threads report it."""
    entry = replace(small_entry("moco"), family="dino", name="dino_r50")
    backbone, _ = make_checkpoint("moco", tmp_path / "other.pth", head=False)
    width = entry.feature_dim
    head = {
        "mlp.0.weight": torch.randn(20, width) / width**0.5,
        "mlp.0.bias": torch.randn(20),
        "mlp.1.weight": torch.rand(20),
        "mlp.1.bias": torch.rand(20),
        "mlp.1.running_mean": torch.rand(20),
        "mlp.1.running_var": torch.rand(20) + 0.5,
        "mlp.1.num_batches_tracked": torch.tensor(3),
        "mlp.3.weight": torch.randn(6, 20),
        "mlp.3.bias": torch.randn(6),
        "last_layer.weight": torch.randn(9, 6),
    }
    state = {f"module.backbone.{key}": value for key, value in backbone.state_dict().items()}
    torch.save({"teacher": state | {f"module.head.{key}": value for key, value in head.items()}}, tmp_path / "file.pth")
    _, found, outputs = load_published(tmp_path / "file.pth", entry)
    assert found is not None
    assert outputs == 9
    x = torch.randn(4, width)
    y = x @ head["mlp.0.weight"].T + head["mlp.0.bias"]
    y = (y - head["mlp.1.running_mean"]) / (head["mlp.1.running_var"] + 1e-5).sqrt()
    y = torch.nn.functional.gelu(y * head["mlp.1.weight"] + head["mlp.1.bias"])
    y = y @ head["mlp.3.weight"].T + head["mlp.3.bias"]
    with torch.no_grad():
        assert_close(found(x), y / y.norm(dim=1, keepdim=True) @ head["last_layer.weight"].T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_without_head_is_refused_or_gets_a_fitted_one(family: str, tmp_path: Path, small_catalog: None) -> None:
    backbone, _ = make_checkpoint(family, tmp_path / "file.pth", head=False)
    word, file = FAMILIES[family], str(tmp_path / "file.pth")
    with pytest.raises(LowzooError, match="has no projection head") as caught:
        load_teacher(word, size=SIDE, file=file)
    assert "--teacher-head fitted" in caught.value.remedy
    teacher = load_teacher(word, size=SIDE, head="fitted", file=file)
    assert teacher.head is None
    views = torch.randn(1, 4, 3, SIDE, SIDE)
    with pytest.raises(LowzooError, match="has no head"):
        teacher(views)
    with torch.no_grad():
        assert_close(teacher.backbone(views[0]), backbone(views[0]))
    features = torch.randn(64, small_entry(family).feature_dim)
    fitted = fit_teacher_head(teacher, features, prototypes=5, bottleneck=4, whitening=0.5, seed=0)
    assert fitted(views).shape == (1, 4, 5)
    assert fitted.facts.extension
    assert fitted.bottleneck_width == 4


@pytest.mark.parametrize("layout", ["flat", "state_dict"])
def test_backbone_only_files_of_dino_and_ibot(layout: str, tmp_path: Path, small_catalog: None) -> None:
    backbone, _ = make_checkpoint("dino", tmp_path / "full.pth")
    flat = dict(backbone.state_dict())
    torch.save(flat if layout == "flat" else {"state_dict": flat}, tmp_path / "backbone.pth")
    with pytest.raises(LowzooError, match="has no projection head") as caught:
        load_teacher("dino_vits16", size=SIDE, file=str(tmp_path / "backbone.pth"))
    assert "dino_deitsmall16_pretrain_full_checkpoint.pth" in caught.value.remedy
    teacher = load_teacher("dino_vits16", size=SIDE, head="fitted", file=str(tmp_path / "backbone.pth"))
    assert torch.equal(teacher.backbone.state_dict()["norm.weight"], flat["norm.weight"])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("other", FAMILIES)
def test_a_file_of_another_family_is_one_line(family: str, other: str, tmp_path: Path, small_catalog: None) -> None:
    if family == other:
        return
    make_checkpoint(other, tmp_path / "file.pth")
    with pytest.raises(LowzooError, match=r"file\.pth") as caught:
        load_teacher(FAMILIES[family], size=SIDE, file=str(tmp_path / "file.pth"))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_file_of_another_network_says_what_differs(tmp_path: Path, small_catalog: None) -> None:
    make_checkpoint("dino", tmp_path / "file.pth")
    with pytest.raises(LowzooError, match=r"does not fit the backbone of dino_vitb16: \w+ is 1 x .* expected"):
        load_teacher("dino_vitb16", size=224, file=str(tmp_path / "file.pth"))


@pytest.mark.parametrize("word", ["dino_vits16", "msn_vitl7"])
def test_a_size_that_patches_do_not_fill_is_refused_before_a_file_is_fetched(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(LowzooError, match="100 px is no multiple of the patch size"):
        load_teacher(word, size=100)


def test_a_torn_or_empty_file_is_one_line(tmp_path: Path, small_catalog: None) -> None:
    make_checkpoint("dino", tmp_path / "full.pth")
    content = (tmp_path / "full.pth").read_bytes()
    for size in (0, 1000, len(content) // 2, len(content) - 1):
        (tmp_path / "torn.pth").write_bytes(content[:size])
        with pytest.raises(LowzooError, match="cannot be read as a torch checkpoint") as caught:
            load_teacher("dino_vits16", size=SIDE, file=str(tmp_path / "torn.pth"))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_would_run_code_does_not(zipped: bool, tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"teacher": Harmful()}, tmp_path / "harmful.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(LowzooError, match=r"more than tensors \(\w+.system\) and could run code"):
        read_torch_file(tmp_path / "harmful.pth")
    assert not (tmp_path / "ran").exists()


def test_files_of_the_older_form_are_read(tmp_path: Path, small_catalog: None) -> None:
    make_checkpoint("dino", tmp_path / "new.pth")
    content = read_torch_file(tmp_path / "new.pth")
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    ours, theirs = (
        load_teacher("dino_vits16", size=SIDE, file=str(tmp_path / name)) for name in ("new.pth", "old.pth")
    )
    assert ours.checksum() == theirs.checksum()


def test_the_checksum_is_of_every_value(tmp_path: Path, small_catalog: None) -> None:
    make_checkpoint("swav", tmp_path / "file.pth")
    teacher = load_teacher("swav_r50", size=SIDE, file=str(tmp_path / "file.pth"))
    before = teacher.checksum()
    teacher(torch.randn(2, 2, 3, SIDE, SIDE))
    assert teacher.checksum() == before
    for tensor in (teacher.backbone.bn1.running_mean, teacher.head.prototypes.weight):  # type: ignore[union-attr]
        tensor.view(-1)[0] += 1  # type: ignore[operator,index]
        assert teacher.checksum() != before
        before = teacher.checksum()


def test_the_wide_resnet_is_wide_from_the_stem_on() -> None:
    torch.manual_seed(0)
    network = WideResNet50(2, num_classes=0).eval()
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert shapes["conv1.weight"] == (128, 3, 7, 7)
    assert shapes["layer1.0.downsample.0.weight"] == (512, 128, 1, 1)
    with torch.no_grad():
        assert network(torch.randn(1, 3, 32, 32)).shape == (1, 4096)


def test_a_missing_file_is_fetched_once_into_the_folder_of_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_catalog: None
) -> None:
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(LowzooError, match="HF_HUB_OFFLINE") as caught:
        load_teacher("dino_vits16", size=SIDE)
    place = download.downloads_folder() / "teachers/dino_vits16/dino_deitsmall16_pretrain_full_checkpoint.pth"
    assert catalog.teacher("dino_vits16").url in caught.value.message
    assert str(place) in caught.value.remedy
    place.parent.mkdir(parents=True)
    make_checkpoint("dino", place)
    assert load_teacher("dino_vits16", size=SIDE).facts.revision == place.name
    with pytest.raises(LowzooError, match="does not exist"):
        load_teacher("dino_vits16", size=SIDE, file="nowhere.pth")


def test_an_address_with_a_signature_is_left_to_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_catalog: None
) -> None:
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path))
    with pytest.raises(LowzooError, match="changes with a signature") as caught:
        load_teacher("simclr_r50", size=SIDE)
    assert "https://github.com/jacobswan1/SEED" in caught.value.remedy
    place = download.downloads_folder() / "teachers/simclr_r50/simclr_200.pth"
    place.parent.mkdir(parents=True)
    make_checkpoint("simclr", place)
    assert load_teacher("simclr_r50", size=SIDE).facts.derivatives_may_be_published is None


def test_a_teacher_file_with_another_digest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"something else")
    assert hashlib.sha256(b"something else").hexdigest() != catalog.teacher("mobilenetv2_supervised").sha256
    with pytest.raises(LowzooError, match="is not the file of teacher mobilenetv2_supervised"):
        load_teacher("mobilenetv2_supervised", size=96, head="fitted", file=str(tmp_path / "weights.pt"))


def test_a_headless_teacher_is_refused_before_its_file_is_looked_for() -> None:
    with pytest.raises(LowzooError, match="has no projection head of its own"):
        load_teacher("mobilenetv2_supervised", size=96, file="nowhere.pt")
    with pytest.raises(LowzooError, match="does not come from a checkpoint file"):
        load_teacher("rob_vit_tiny", size=96, file="somewhere.pth")


def test_flat_mobilenetv2_maps_every_key(tmp_path: Path) -> None:
    torch.manual_seed(0)
    entry = catalog.teacher("mobilenetv2_supervised")
    state = timm.create_model("mobilenetv2_100", num_classes=0).state_dict()
    flat = {_flat_name(key): value for key, value in state.items()}
    assert len(flat) == len(state)
    torch.save(flat, tmp_path / "flat.pt")
    loaded, head, _ = load_published(tmp_path / "flat.pt", entry, with_head=False)
    assert head is None
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())
    del flat["features.3.conv.3.weight"]
    torch.save(flat, tmp_path / "short.pt")
    with pytest.raises(LowzooError, match=r"1 missing \(first blocks"):
        load_published(tmp_path / "short.pt", entry, with_head=False)
    for key in ("features.99.conv.0.weight", "classifier.weight", "features.x.conv.0.weight"):
        torch.save({key: torch.zeros(1)}, tmp_path / "odd.pt")
        with pytest.raises(LowzooError, match="no flat MobileNetV2 has"):
            load_published(tmp_path / "odd.pt", entry, with_head=False)


def test_a_damaged_head_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "head.safetensors").write_bytes(b"x" * 50)
    with pytest.raises(LowzooError, match="is not a projection head"):
        load_head(tmp_path / "head.safetensors")


def _flat_name(key: str) -> str:
    """timm's name to `features.N...`, written out the other way round than the loader does."""
    fixed = {"conv_stem": "features.0.0", "bn1": "features.0.1", "conv_head": "features.18.0", "bn2": "features.18.1"}
    first, rest = key.split(".", 1)
    if first in fixed:
        return f"{fixed[first]}.{rest}"
    _, stage, block, layer, leaf = key.split(".")
    number = 1 + sum(_STAGES[: int(stage)]) + int(block)
    if number == 1:
        slots = {"conv_dw": 0, "bn1": 1, "conv_pw": 3, "bn2": 4}
    else:
        slots = {"conv_pw": 0, "bn1": 1, "conv_dw": 3, "bn2": 4, "conv_pwl": 6, "bn3": 7}
    return f"features.{number}.conv.{slots[layer]}.{leaf}"


def test_a_published_teacher_is_a_model_for_every_command() -> None:
    model = load_model("mobilenetv2_supervised", image_size=96)
    backbone = load_teacher("mobilenetv2_supervised", size=96, head="fitted").backbone
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.equal(model.model(images), backbone(images))
    assert (model.name, model.license, model.input_size) == ("mobilenetv2_supervised", "MIT", (3, 96, 96))
    assert refuse_early("mobilenetv2_supervised") == model.source == "mobilenetv2_supervised"


def test_a_head_that_ends_in_an_embedding_is_no_teacher_of_prototypes(tmp_path: Path) -> None:
    world = make_pictures(tmp_path / "world")
    for kind, embedding in (("moco", False), ("dino", True)):
        teacher = make_teacher(tmp_path / kind, kind)
        if embedding:  # whatever its kind, it was trained to end in one
            head, spec, width, outputs = load_head(teacher / "head.safetensors")
            save_head(teacher / "head.safetensors", head, spec, width, outputs, embedding=True)
        assert brings_head(str(teacher), prototypes=False)
        assert not brings_head(str(teacher), prototypes=True)
        config = config_of("rob_dino", world, f"teacher={teacher}")
        with pytest.raises(LowzooError, match="ends in an embedding, and RoB needs prototypes"):
            start(world, tmp_path / "run", config)
    assert brings_head(str(make_teacher(tmp_path / "plain")), prototypes=True)


def test_a_run_stores_whether_its_head_ends_in_an_embedding(tmp_path: Path) -> None:
    world = make_pictures(tmp_path / "world")
    for method, embedding in (("seed", True), ("sslight_moco", True), ("sslight_dino", False), ("rob_dino", False)):
        run = start(world, tmp_path / method, config_of(method, world, "steps=1", "monitor_epochs=0"))
        run.train(Progress())
        assert ends_in_embedding(tmp_path / method / "head.safetensors") == embedding


def test_a_folder_with_the_name_of_a_model_lends_it_no_head(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("rob_vit_tiny", "resnet18"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "head.safetensors").write_bytes(b"of a run")
    beside = loading._head_file("rob_vit_tiny")
    assert beside is not None
    assert beside.parent != tmp_path / "rob_vit_tiny"
    assert loading._head_file("resnet18") is None
    assert loading._head_file("./resnet18") == Path("resnet18/head.safetensors")
    assert loading._head_file("local-dir:resnet18") == Path("resnet18/head.safetensors")
