"""Anybody's checkpoint of a named architecture: ten trainers' layouts of one random network, and what is refused."""

import argparse
from collections import OrderedDict
from pathlib import PosixPath

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from lowzoo.base.errors import LowzooError, LowzooWarning
from lowzoo.checkpoints.families.published import convert_checkpoint
from lowzoo.checkpoints.foreign import read_foreign
from lowzoo.zoo.resolve import load_model
from tests.helpers.published_files import make_content, save
from tests.helpers.slow import slow_but

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def network(architecture="resnet18", seed=0, **arguments):
    """A network in eval mode whose batch norms have statistics and counters that matter."""
    torch.manual_seed(seed)
    model = timm.create_model(architecture, **arguments).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model


def features(model):
    with torch.no_grad():
        return model.forward_head(model.forward_features(IMAGES), pre_logits=True)


def under(prefix, state):
    return OrderedDict((f"{prefix}{key}", value) for key, value in state.items())


class AttributeDict(dict):
    """Stands for Lightning's hyper-parameters: a class of another package, which the file names."""


class Callback:
    def __init__(self):
        self.best = torch.ones(1)


def _timm_script(wanted, other, headless):
    arguments = argparse.Namespace(model="resnet18", mean=None, std=None, output=PosixPath("out"))
    return {
        "epoch": 3,
        "arch": "resnet18",
        "state_dict": other.state_dict(),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
        "version": 2,
        "args": arguments,
        "state_dict_ema": wanted.state_dict(),
        "metric": 71.0,
    }


def _lightning(wanted, other, headless):
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": under("model.", wanted.state_dict()) | {"criterion.weight": torch.ones(7)},
        "callbacks": {"ModelCheckpoint": Callback()},
        "hyper_parameters": AttributeDict(lr=0.1, folder=PosixPath("x")),
    }


def _dino(wanted, other, headless):
    head = {"head.mlp.0.weight": torch.ones(4, 512), "head.last_layer.weight_v": torch.ones(8, 4)}
    branches = (
        under("module.", under("backbone.", net.state_dict()) | head)
        for net in (network(seed=9, num_classes=0), headless)
    )
    student, teacher = branches
    return {"student": student, "teacher": teacher, "args": argparse.Namespace(arch="resnet18"), "epoch": 1}


def _moco(wanted, other, headless):
    fc = {"fc.0.weight": torch.ones(512, 512), "fc.2.weight": torch.ones(128, 512)}
    keys = under("module.encoder_k.", network(seed=9, num_classes=0).state_dict() | fc)
    query = under("module.encoder_q.", headless.state_dict() | fc)
    queue = {"module.queue": torch.ones(128, 16), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    return {"epoch": 1, "arch": "resnet18x", "state_dict": keys | query | queue}


def _vissl(wanted, other, headless):
    trunk = under("_feature_blocks.", headless.state_dict())
    model = {"trunk": trunk, "heads": {"0.clf.weight": torch.ones(4, 512)}}
    return {"phase_idx": 2, "classy_state_dict": {"base_model": {"model": model, "meta": {}}, "iteration": 5}}


def _lightly(wanted, other, headless):
    state = under("teacher_embedding_model.wrapped_model._model.", headless.state_dict())
    state |= {"student_projection_head.mlp.0.weight": torch.ones(4, 512)}
    return {"state_dict": state, "lightly_train": {"model": headless}, "epoch": 3}


LAYOUTS = {
    "timm_script": (_timm_script, "state_dict_ema"),
    "lightning": (_lightning, "state_dict.model"),
    "dino": (_dino, "teacher.module.backbone"),
    "moco": (_moco, "state_dict.module.encoder_q"),
    "vissl": (_vissl, "classy_state_dict.base_model.model.trunk._feature_blocks"),
    "lightly": (_lightly, "state_dict.teacher_embedding_model.wrapped_model._model"),
    "torchvision": (lambda wanted, other, headless: wanted.state_dict(), ""),
    "compiled": (lambda wanted, other, headless: {"model": under("_orig_mod.", wanted.state_dict())}, "model"),
    "ddp": (lambda wanted, other, headless: under("module.", wanted.state_dict()), "module"),
    "compiled_inside_ddp": (
        lambda wanted, other, headless: under("module.backbone._orig_mod.", headless.state_dict()),
        "module.backbone",
    ),
    "without_counters": (
        lambda wanted, other, headless: {k: v for k, v in wanted.state_dict().items() if "num_batches" not in k},
        "",
    ),
    "whole_module": (lambda wanted, other, headless: wanted, "model"),
}
WHOLE = ("lightly", "whole_module")


# In torch's older form a whole module comes with its source code, which the reader refuses.
@pytest.mark.parametrize(
    ("layout", "zipped"),
    slow_but(
        [(layout, zipped) for layout in LAYOUTS for zipped in (True, False) if zipped or layout not in WHOLE],
        [("lightning", True), ("dino", False)],
    ),
)
def test_each_layout_gives_the_network_bit_for_bit(layout, zipped, tmp_path, capsys):
    wanted, other = network(num_classes=11), network(seed=5, num_classes=11)
    headless = network(num_classes=0)
    make, place = LAYOUTS[layout]
    expected = features(headless if layout in ("dino", "moco", "vissl", "lightly") else wanted)
    if layout == "compiled_inside_ddp":
        expected = features(headless)
    file = tmp_path / "checkpoint.pth.tar"
    torch.save(make(wanted, other, headless), file, _use_new_zipfile_serialization=zipped)
    resolved = load_model(f"resnet18@{file}")
    with torch.no_grad():
        assert torch.equal(resolved.model(IMAGES), expected)
    assert resolved.name == "resnet18@checkpoint.pth.tar"
    assert resolved.trained
    assert read_foreign(file, "resnet18").place == place


def test_half_precision_safetensors_are_close_and_come_as_float32(tmp_path):
    model = network(num_classes=0)
    file = tmp_path / "model.safetensors"
    halves = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    save_file(halves, file)
    loaded = load_model(f"resnet18@{file}").model
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32, torch.int64}
    with torch.no_grad():
        assert torch.allclose(loaded(IMAGES), features(model), rtol=0.02, atol=0.02)


def test_the_choice_among_copies_is_said_and_can_be_made(tmp_path):
    wanted, other = network(num_classes=11), network(seed=5, num_classes=11)
    file = tmp_path / "last.pth.tar"
    torch.save(_timm_script(wanted, other, None), file)
    with pytest.warns(LowzooWarning, match=r"took state_dict_ema \(also there: state_dict; add #state_dict for that\)"):
        load_model(f"resnet18@{file}")
    with torch.no_grad():
        assert torch.equal(load_model(f"resnet18@{file}#state_dict").model(IMAGES), features(other))
    with pytest.raises(LowzooError, match="holds no student"):
        load_model(f"resnet18@{file}#student")


@pytest.mark.parametrize("wrapper", ["", "state_dict"])
@pytest.mark.parametrize(("below", "best"), [("ema_model.module", True), ("momentum_encoder", False)])
def test_a_copy_within_the_module_that_is_the_network_is_a_copy(below, best, wrapper, tmp_path):
    """A module that is the network and keeps another one below its own names."""
    plain, inner = network(num_classes=11), network(seed=5, num_classes=11)
    tensors = {**plain.state_dict(), **under(f"{below}.", inner.state_dict())}
    file = tmp_path / "last.ckpt"
    torch.save({wrapper: tensors} if wrapper else tensors, file)
    places = [wrapper or ".", f"{wrapper}.{below}".strip(".")]
    taken, other = places[::-1] if best else places
    found = read_foreign(file, "resnet18")
    assert (found.place or ".", found.others, found.left_out) == (taken, (other,), "")
    for place, model in zip(places, (plain, inner), strict=True):
        with torch.no_grad():
            assert torch.equal(load_model(f"resnet18@{file}#{place}").model(IMAGES), features(model))


def test_the_classifier_stays_where_classes_are_wanted_and_its_loss_is_said(tmp_path):
    model = network(num_classes=11)
    file = tmp_path / "classifier.pth"
    torch.save({"state_dict": under("module.", model.state_dict()) | {"module.head2.weight": torch.ones(2)}}, file)
    with pytest.warns(LowzooWarning, match=r"left out head2 \(1 tensor\); its classifier of 11 classes is for"):
        loaded = load_model(f"resnet18@{file}", classes=True)
    with torch.no_grad():
        assert torch.equal(loaded.model(IMAGES), model(IMAGES))


LEFT = {
    "dino": "student.module.head (2 tensors), teacher.module.head (2 tensors)",
    "moco": "fc (2 tensors), state_dict.module.queue (1 tensor), state_dict.module.queue_ptr (1 tensor)",
    "vissl": "classy_state_dict.base_model.model.heads (1 tensor)",
    "lightning": "state_dict.criterion (1 tensor)",
    "whole_module": "",
    "ddp": "",
    "timm_script": "",
}


@pytest.mark.parametrize("layout", LEFT)
def test_what_lies_beside_the_network_is_listed_wherever_it_lies(layout, tmp_path):
    parts = network(num_classes=11), network(seed=5, num_classes=11), network(num_classes=0)
    file = tmp_path / "x.pth"
    torch.save(LAYOUTS[layout][0](*parts), file)
    assert read_foreign(file, "resnet18").left_out == LEFT[layout]


def test_what_a_published_file_holds_beside_is_listed(tmp_path):
    file = save(make_content("sslight_moco_mnv2")[0], tmp_path / "x.pth")
    left = read_foreign(file, "mobilenetv2_100").left_out
    assert left == convert_checkpoint(file).left_out
    assert "queue" in left
    assert "encoder_k" in left


def test_a_vit_trained_at_another_size_keeps_its_size_and_can_be_given_another(tmp_path):
    model = network("vit_tiny_patch16_224", num_classes=0, img_size=96)
    file = tmp_path / "vit.ckpt"
    torch.save({"state_dict": under("student.backbone.", model.state_dict())}, file)
    resolved = load_model(f"vit_tiny@{file}")
    assert resolved.input_size == (3, 96, 96)
    assert resolved.mean == (0.485, 0.456, 0.406)
    images = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert torch.equal(resolved.model(images), model(images))
    assert load_model(f"vit_tiny@{file}", image_size=64).model.pos_embed.shape == (1, 17, 192)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (lambda: network("resnet34", num_classes=0).state_dict(), "left over, first layer1.2"),
        (lambda: network("resnet50", num_classes=0).state_dict(), "another shape, first layer1.0.conv1"),
        (lambda: {k: v for k, v in network(num_classes=0).state_dict().items() if "layer4.1" not in k}, "are missing"),
        (lambda: {"a.weight": torch.ones(3)}, "none of its tensors"),
    ],
)
def test_another_network_is_refused_and_what_did_not_fit_named(state, words, tmp_path):
    file = tmp_path / "other.pth"
    torch.save({"state_dict": state()}, file)
    with pytest.raises(LowzooError, match=words):
        read_foreign(file, "resnet18")


def test_the_architecture_that_fits_is_named(tmp_path):
    file = tmp_path / "other.pth"
    torch.save(network("resnet34", num_classes=0).state_dict(), file)
    with pytest.raises(LowzooError, match="resnet34 fits"):
        read_foreign(file, "resnet18")
    torch.save(_timm_script(network(), network(), None), file)
    with pytest.raises(LowzooError, match=f"Write resnet18@{file}"):
        load_model(str(file))


def test_a_whole_module_in_the_older_form_is_refused_with_the_way_out(tmp_path):
    file = tmp_path / "module.pth"
    torch.save(network(), file, _use_new_zipfile_serialization=False)
    with pytest.raises(LowzooError, match=r"whole module.*save its state dict"):
        read_foreign(file, "resnet18")


class _Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "name", ["os.system", "subprocess.Popen", "builtins.eval", "builtins.getattr", "importlib.import_module"]
)
def test_a_file_that_could_run_code_is_refused_by_name_and_runs_nothing(name, zipped, tmp_path):
    import importlib

    module, _, function = name.rpartition(".")
    file, trace = tmp_path / "evil.pth", tmp_path / "trace"
    called = _Runs(getattr(importlib.import_module(module), function), f"touch {trace}")
    torch.save({"state_dict": network().state_dict(), "x": called}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(LowzooError, match=f"{function}.* could run code"):
        read_foreign(file, "resnet18")
    assert not trace.exists()
