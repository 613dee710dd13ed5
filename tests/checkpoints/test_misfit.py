"""A checkpoint of another network is refused before torch and timm are there, in the words of those who have them."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

import lowzoo
from lowzoo.base.errors import LowzooError
from lowzoo.catalog import students
from lowzoo.catalog.shapes import known_architectures, known_skeleton
from lowzoo.checkpoints.early import compare_outline, refuse_early, refuse_early_checkpoint
from lowzoo.checkpoints.families.published import FAMILIES, convert_checkpoint, could_be_published, refuse_published
from lowzoo.checkpoints.files.fit import common_architectures
from lowzoo.checkpoints.files.outline import read_outline
from lowzoo.checkpoints.foreign import read_foreign, timm_skeleton
from tests.checkpoints.test_early import _run
from tests.checkpoints.test_foreign import LAYOUTS, WHOLE, network, under
from tests.helpers.published_files import make_content, save
from tests.helpers.slow import slow_but

# Of each of timm's larger modules one, so that the table is compared with more than the zoo's own students.
OTHERS = (
    "seresnext50_32x4d", "vit_small_patch16_224", "vit_base_patch14_reg4_dinov2", "mobilenetv4_conv_small",
    "convnextv2_nano", "swin_tiny_patch4_window7_224", "fastvit_t8", "regnety_002", "eva02_tiny_patch14_224",
)  # fmt: skip


def empty(architecture):
    """The state dict of a network with a value per tensor, which takes no time to fill."""
    return {
        name: torch.zeros((), dtype=torch.long if not shape else torch.float32).expand(shape)
        for name, shape in timm_skeleton(architecture).shapes.items()
    }


@pytest.mark.parametrize("architecture", sorted({*common_architectures(), *OTHERS}))
def test_the_table_is_what_timm_builds(architecture):
    assert known_skeleton(architecture) == timm_skeleton(architecture)


def test_the_table_is_of_every_architecture_but_a_few():
    registered = set(timm.list_models())
    known = set(known_architectures())
    assert known, "benchmarks/architecture_shapes.py has to be run for this timm"
    assert len(registered - known) < 0.06 * len(registered)
    assert {family.architecture for family in FAMILIES.specs()} | set(students().values()) <= known


def test_another_timm_leaves_everything_to_itself(monkeypatch):
    from lowzoo.catalog import shapes

    for release in ("1.0.1", "99.0", "of my own"):
        with monkeypatch.context() as context:
            shapes._index.cache_clear()
            shapes.known_skeleton.cache_clear()
            context.setattr(shapes, "version", lambda _, release=release: release)
            assert known_skeleton("resnet18") is None
            assert known_architectures() == []
    with monkeypatch.context() as context:
        context.setattr(shapes, "version", lambda _: "1.0.24")
        shapes._index.cache_clear()
        shapes.known_skeleton.cache_clear()
        assert known_skeleton("resnet18")
        assert known_skeleton("xcit_nano_12_p16_224") is None, "its tensors were others"
    shapes._index.cache_clear()
    shapes.known_skeleton.cache_clear()
    assert known_skeleton("resnet18")


COMMANDS = (
    "convert resnet34.pth --arch resnet18 --out o",
    "convert resnet34.pth --arch resnet18.a1_in1k --out o",
    "convert resnet34.safetensors --arch mobilenetv2 --out o",
    "convert older.pth --arch vit_tiny --out o",
    "convert older.pth --arch convnext_nano --out o",
    "convert wrapped.ckpt --arch resnet18 --branch student --out o",
    "convert resnet34.pth --out o",
    "convert resnet34.pth --family seed_r18 --out o",
    "export resnet18@resnet34.pth",
    "export vit_tiny@wrapped.ckpt#teacher",
    "embed --model resnet18@resnet34.safetensors",
    "eval knn resnet50@resnet34.pth",
    "info resnet18@resnet34.pth",
    "check x.onnx --against mobilenetv3_large@resnet34.pth",
    "bench resnet18@resnet34.pth",
    "train rob --init resnet18@resnet34.pth",
    "export resnet34.pth",
    "embed --model wrapped.ckpt",
    "info resnet34.safetensors",
    "info deeper",
    "export ./deeper",
    "embed --model local-dir:deeper",
    "eval knn deeper",
    "bench deeper",
    "check x.onnx --against deeper",
    "train rob --init deeper",
    "train rob --teacher deeper",
    "data --model deeper",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("files")
    state = empty("resnet34")
    torch.save(state, place / "resnet34.pth")
    torch.save({"state_dict": state}, place / "older.pth", _use_new_zipfile_serialization=False)
    torch.save({"state_dict": under("teacher.", state), "hyper": nn.Module()}, place / "wrapped.ckpt")
    save_file({name: value.clone() for name, value in state.items()}, place / "resnet34.safetensors")
    model_folder(place / "deeper", "resnet18", state)
    return place


def model_folder(folder, architecture, state, **config):
    """A folder whose configuration names an architecture, whatever weights it holds."""
    folder.mkdir()
    config = {"architecture": architecture, "pretrained_cfg": {"input_size": [3, 224, 224]}} | config
    (folder / "config.json").write_text(json.dumps(config))
    save_file({name: value.clone() for name, value in state.items()}, folder / "model.safetensors")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS)
def test_every_door_says_no_to_another_network_before_torch_and_timm_are_there(words, folder):
    assert _run(words, folder) == "2"


@pytest.mark.parametrize(
    ("named", "held", "difference", "fits"),
    [
        # Every tensor of a resnet18 stands in a resnet34 under the same name and of the same shape.
        ("resnet18", "resnet34", "80 of the file's are left over, first layer1.2", "those of a resnet34"),
        ("resnet34", "resnet18", "80 of 216 tensors are missing, first layer1.2", "those of a resnet18"),
        ("test_vit2", "test_vit3", "are missing|have another shape", "Write the folder again"),
        ("mobilenetv2_100", "resnet18", "tensors are missing, first conv_stem.weight", "those of a resnet18"),
    ],
)
def test_a_folder_that_holds_another_network_is_refused_by_what_differs(tmp_path, named, held, difference, fits):
    folder = model_folder(tmp_path / "m", named, empty(held))
    for call in (refuse_early, refuse_early_checkpoint, find_folder):
        with pytest.raises(
            LowzooError, match=f"does not hold a {named}, which config.json names: .*({difference})"
        ) as no:
            call(str(folder))
        assert fits in no.value.remedy


def find_folder(word):
    from lowzoo.zoo.find import find

    return find(word, pretrained=True)


# Of several layers, beside a norm that the network keeps without it.
CLASSIFIER = {f"head.fc.{name}": torch.zeros(4) for name in ("fc1.weight", "fc1.bias", "norm.weight", "fc2.weight")}


def test_what_belongs_to_a_folder_passes(tmp_path):
    vit = empty("test_vit")
    for name, architecture, state, config in (
        ("whole", "test_vit", vit, {}),
        ("classes", "test_vit", vit | {"head.weight": torch.zeros(5, 64), "head.bias": torch.zeros(5)}, {}),
        ("larger", "test_vit", vit | {"pos_embed": torch.zeros(1, 1 + 20 * 20, 64)}, {}),
        ("layers", "caformer_s18", empty("caformer_s18") | CLASSIFIER, {}),
        ("beside", "resnet18", empty("resnet18") | {"odd.weight": torch.zeros(1)}, {}),
        # What only timm can tell is left to it.
        ("channels", "resnet18", empty("resnet34"), {"pretrained_cfg": {"input_size": [1, 64, 64]}}),
        ("arguments", "resnet18", empty("resnet34"), {"model_args": {"block_args": {}}}),
        ("unknown", "resnet_of_tomorrow", vit, {}),
    ):
        word = str(model_folder(tmp_path / name, architecture, state, **config))
        assert refuse_early(word) == word


def test_python_says_no_too(folder):
    import subprocess
    import sys

    program = """
import sys, lowzoo
from lowzoo.base.errors import LowzooError
try:
    lowzoo.load("resnet18@resnet34.pth")
except LowzooError as error:
    print(error, *(name for name in ("torch", "timm") if name in sys.modules))
"""
    found = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert found.stdout.strip().endswith("Name its architecture; resnet34 fits"), found


@pytest.mark.parametrize("name", ["resnet34.pth", "rob_vit_tiny.pth", "any.ckpt"])
def test_a_file_that_is_called_like_a_model_is_a_file(name, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes((folder / "resnet34.pth").read_bytes())
    with pytest.raises(LowzooError, match=f"{name} is a file, .* Write ARCH@{name}"):
        lowzoo.load(name)


def refusal(function, *arguments):
    try:
        function(*arguments)
    except LowzooError as error:
        return str(error)
    return ""


def contents():
    """Files of all kinds, by name: the ten layouts, plain networks, parts of networks, and what is no network."""
    parts = network(num_classes=11), network(seed=5, num_classes=11), network(num_classes=0)
    found = {layout: make(*parts) for layout, (make, _) in LAYOUTS.items()}
    for name in ("resnet34", "vit_tiny_patch16_224", "mobilenetv2_100", "vit_small_patch16_224"):
        found[name] = empty(name)
    found["cut"] = {k: v for k, v in empty("resnet18").items() if "layer4.1" not in k}
    found["other grid"] = {**empty("vit_tiny_patch16_224"), "pos_embed": torch.zeros(1, 37, 192)}
    found["no grid"] = {**empty("vit_tiny_patch16_224"), "pos_embed": torch.zeros(1, 38, 192)}
    found["no network"] = {"a.weight": torch.ones(3), "epoch": 3}
    found["parameters"] = {name: nn.Parameter(value) for name, value in network().named_parameters()}
    found["states it"] = {"arch": "resnet34", "state_dict": empty("resnet34")}
    return found


@pytest.mark.parametrize("name", slow_but(contents(), ("resnet34",)))
def test_early_and_late_agree_to_the_word(name, tmp_path):
    content, decided = contents()[name], 0
    for zipped in (True, False) if name not in WHOLE else (True,):
        file = tmp_path / f"{zipped}.pth"
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
        assert read_outline(file) is not None
        for architecture in ("resnet18", "resnet34", "vit_tiny_patch16_224", "mobilenetv2_100.ra_in1k"):
            for branch in ("", "student"):
                late = refusal(read_foreign, file, architecture, branch)
                assert refusal(compare_outline, file, architecture, branch) == late, (architecture, branch)
                decided += bool(late)
        assert refusal(refuse_published, file) in ("", refusal(convert_checkpoint, file))
    assert decided


@pytest.mark.parametrize("name", ["sslight_moco_mnv2", "seed_mobilenetv3_large", "seed_r18", "dino_r50", "msn_vits16"])
def test_published_files_pass_and_are_told_from_others(name, tmp_path):
    file = save(make_content(name)[0], tmp_path / "checkpoint.pth")
    family = FAMILIES[name]
    assert could_be_published(read_outline(file), family.architecture)
    assert not refusal(compare_outline, file, family.architecture)
    assert not refusal(refuse_published, file)
    for architecture in ("resnet34", "efficientnet_b0"):
        late = refusal(read_foreign, file, architecture)
        assert late
        assert refusal(compare_outline, file, architecture) == late
    wrong = "sslight_dino_r34"
    assert refusal(refuse_published, file, wrong) == refusal(convert_checkpoint, file, wrong) != ""


class _Odd:
    """An object whose class the reader must not look up, filled like a dictionary or a list."""


class _OddDict(dict):
    pass


class _OddList(list):
    pass


def test_objects_of_any_class_do_not_hide_a_network_nor_make_one(tmp_path):
    state = network(num_classes=0).state_dict()
    odd = _Odd()
    odd.model = state
    for content in ({"model": _OddDict(state), "x": odd}, {"model": state, "list": _OddList([state, odd])}):
        torch.save(content, tmp_path / "x.pth")
        assert not refusal(read_foreign, tmp_path / "x.pth", "resnet18")
        assert not refusal(compare_outline, tmp_path / "x.pth", "resnet18")
    torch.save({"x": odd}, tmp_path / "x.pth")
    late = refusal(read_foreign, tmp_path / "x.pth", "resnet18")
    assert late
    assert refusal(compare_outline, tmp_path / "x.pth", "resnet18") in ("", late)


def test_with_timm_there_it_is_timm_that_judges(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("lowzoo.checkpoints.early.compare_outline", None)
    with pytest.raises(LowzooError, match="resnet34 fits"):
        lowzoo.load("resnet18@resnet34.pth")
