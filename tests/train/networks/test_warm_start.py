"""A student that starts from given weights, and sizes of views that patches divide."""

import json

import pytest
import timm
import torch

from lowzoo.base.errors import LowzooError
from lowzoo.preprocess.sizes import check_takes
from lowzoo.train.command import TrainArgs, resolve_args
from lowzoo.train.networks.encoder import create_student
from lowzoo.train.networks.warm_start import load_init, read_init, write_init
from lowzoo.train.settings.config import resolve
from lowzoo.zoo.resolve import load_model


def words(*settings, layers=("sample",), **options):
    return TrainArgs("rob", layers, options=options, settings=settings)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("init") / "vit.pth"
    torch.save({"model": timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=64).state_dict()}, file)
    return file


def test_the_student_is_the_given_network_and_the_run_says_which(tmp_path):
    config = resolve_args(words(init="rob_vit_tiny"))
    assert config.student == "vit_tiny"
    student = create_student(config).eval()
    facts = load_init(student, config.init, config.global_size)
    given = load_model("rob_vit_tiny", image_size=config.global_size)
    images = torch.randn(2, 3, config.global_size, config.global_size)
    with torch.no_grad():
        assert torch.allclose(student(images), given.model(images), atol=1e-5)
    write_init(tmp_path, facts)
    assert read_init(tmp_path) == json.loads((tmp_path / "init.json").read_text())
    assert read_init(tmp_path)["revision"] == given.revision


def test_weights_of_another_normalisation_give_the_same_features(checkpoint):
    config = resolve_args(words(init=f"vit_tiny@{checkpoint}"))
    student = create_student(config).eval()
    load_init(student, config.init, 64)
    given = load_model(config.init, image_size=64)
    assert given.mean == (0.5, 0.5, 0.5), "a classifier of timm's architecture is fed as timm feeds it"
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))

    def normalised(mean, std):
        return (pixels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)

    with torch.no_grad():
        expected = given.model(normalised(given.mean, given.std))
        found = student(normalised((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert torch.allclose(found, expected, atol=1e-4)


def test_another_architecture_than_the_student_is_refused_by_name():
    with pytest.raises(LowzooError, match="is a vit_tiny_patch16_224, and the student resnet18 is a resnet18"):
        create_student(resolve_args(words(init="rob_vit_tiny", student="resnet18")))


def test_sizes_that_the_user_named_are_refused_and_others_chosen_aloud():
    with pytest.raises(LowzooError, match=r"global views of 100 px .*view.global.size=96 or 112"):
        resolve_args(words("view.global.size=100"))
    said = []
    config = resolve_args(words(student="vit_small_patch14_dinov2", teacher="resnet18"), say=said.append)
    assert [group.size for group in config.views] == [70, 28]
    assert len(said) == 2
    both = resolve_args(words(student="vit_small_patch14_dinov2"), say=said.append)
    assert both.global_size == 112, "divided by patches of 14 and of 16"


def test_a_network_of_fixed_windows_names_a_size_that_it_takes():
    network = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, depths=(1, 1, 1, 1))
    with pytest.raises(LowzooError, match=r"swin cannot take images of 100 px .*Take the size it was made for, 224 px"):
        check_takes(network, 100, "swin")
    check_takes(network, 224, "swin")


def test_a_student_is_an_architecture_and_no_weights() -> None:
    config = resolve("rob_dino", settings=["student=resnet18.a1_in1k"])
    with pytest.raises(LowzooError, match="names weights") as caught:
        create_student(config)
    assert caught.value.remedy == ("Use --student resnet18, and --init resnet18.a1_in1k to start from these weights")
