"""Teachers from model words: classifiers as heads, and networks with another normalisation than the views."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torch.testing import assert_close

from lowzoo.base.errors import LowzooError
from lowzoo.features.batch_norms import fold_batch_norms
from lowzoo.train.teachers import load_teacher
from lowzoo.train.teachers.classifier import ClassifierHead, cut_classifier
from lowzoo.train.views import IMAGENET_MEAN, IMAGENET_STD

SIDE, CLASSES = 32, 5
HALF = (0.5, 0.5, 0.5)


def make_model(
    folder: Path, architecture: str = "test_vit", *, classes: int = CLASSES, mean: tuple[float, ...] = IMAGENET_MEAN
) -> nn.Module:
    """A folder as timm saves a model, with random weights; returns the network in eval mode."""
    torch.manual_seed(3)
    arguments = {"img_size": SIDE} if "vit" in architecture else {}
    network: nn.Module = timm.create_model(architecture, num_classes=classes, **arguments).eval()
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.1, 0.3) if value.ndim == 1 else value.normal_(std=0.2)
    folder.mkdir()
    save_file(network.state_dict(), folder / "model.safetensors")
    layers = ("patch_embed.proj", "head") if "vit" in architecture else ("conv1", "fc")
    cfg = {
        "num_classes": classes,
        "input_size": [3, SIDE, SIDE],
        "fixed_input_size": "vit" in architecture,
        "mean": list(mean),
        "std": list(IMAGENET_STD if mean == IMAGENET_MEAN else HALF),
        "first_conv": layers[0],
        "classifier": layers[1],
    }
    facts = {"architecture": architecture, "num_classes": classes, "pretrained_cfg": cfg, "model_args": arguments}
    (folder / "config.json").write_text(json.dumps(facts))
    return network


@pytest.mark.parametrize("architecture", ["test_vit", "resnet18"])
def test_the_classifier_of_a_model_is_its_head(architecture: str, tmp_path: Path) -> None:
    network = make_model(tmp_path / "model", architecture)
    teacher = load_teacher(str(tmp_path / "model"), size=SIDE, head="classifier")
    assert (teacher.facts.head, teacher.facts.prototypes, teacher.facts.extension) == (
        "own (classifier)",
        CLASSES,
        False,
    )
    views = torch.randn(2, 3, 3, SIDE, SIDE)
    with torch.no_grad():
        expected = network(views.flatten(0, 1)).unflatten(0, (2, 3))
    assert expected.std() > 0.01
    assert_close(teacher(views), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    features = teacher.bottleneck(views)
    assert features.shape == (2, 3, teacher.bottleneck_width) == (2, 3, network.num_features)
    assert torch.equal(teacher.scores(features), teacher(views))


@pytest.mark.parametrize("word", ["dino_vits16", "mobilenetv2_supervised", "rob_vit_tiny", "folder"])
def test_a_teacher_without_classes_is_refused_by_name(word: str, tmp_path: Path) -> None:
    if word == "folder":
        make_model(tmp_path / "folder", classes=0)
        word = str(tmp_path / "folder")
    with pytest.raises(LowzooError, match=f"teacher {word} has no classifier"):
        load_teacher(word, size=96 if word == "rob_vit_tiny" else SIDE, head="classifier")


def test_classes_from_two_layers_are_refused_by_name() -> None:
    network = timm.create_model("deit_tiny_distilled_patch16_224", depth=1, embed_dim=12, num_heads=2).eval()
    with pytest.raises(LowzooError, match="the classes of teacher distilled come from more than one linear layer"):
        cut_classifier(network, "distilled", 224)


@pytest.mark.parametrize("head", ["classifier", "fitted"])
def test_a_teacher_sees_views_in_its_own_normalisation(head: str, tmp_path: Path) -> None:
    network = make_model(tmp_path / "model", "resnet18", mean=HALF)
    teacher = load_teacher(str(tmp_path / "model"), size=SIDE, head=head)
    names = set(teacher.backbone.state_dict())
    assert names == {name for name in network.state_dict() if not name.startswith("fc.")}
    fold_batch_norms(teacher.backbone)
    pixels = torch.rand(2, 3, SIDE, SIDE)
    ours, theirs = (
        (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        for mean, std in ((IMAGENET_MEAN, IMAGENET_STD), (HALF, HALF))
    )
    with torch.no_grad():
        expected = network.forward_head(network.forward_features(theirs), pre_logits=True)  # type: ignore[operator]
        wrong = network.forward_head(network.forward_features(ours), pre_logits=True)  # type: ignore[operator]
        found = teacher.backbone(ours)
    scale = float(expected.abs().max())
    assert_close(found, expected, rtol=1e-3, atol=1e-4 * scale)
    assert (wrong - expected).abs().max() > 1e-2 * scale


def test_a_supervised_teacher_takes_class_ids_of_any_size_in_their_order():
    head = ClassifierHead(torch.nn.Linear(4, 3))
    head.number_classes(torch.tensor([7, 4_999_999, 5_000_000]))
    assert head.numbers(torch.tensor([5_000_000, 7, 4_999_999])).tolist() == [2, 0, 1]
