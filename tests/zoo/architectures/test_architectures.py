"""The networks that timm has not, at sizes where they differ from timm's, against the authors' networks."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from lowzoo.checkpoints.families.published import convert_checkpoint
from tests.helpers.published_files import make_content, save
from tests.helpers.published_networks import reference


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Random weights of a family as timm names them, and under the authors' names."""
    made = {}

    def get(family):
        if family not in made:
            folder = tmp_path_factory.mktemp(family)
            content, wanted = make_content(family)
            state = convert_checkpoint(save(content, folder / "checkpoint"), family).state
            save_file(state, folder / "model.safetensors")
            made[family] = {"file": str(folder / "model.safetensors")}, wanted
        return made[family]

    return get


def _largest_difference(model, family, wanted, size, **options):
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = reference(family, **options)(wanted, images)
        return float((model.eval()(images) - expected).abs().max() / expected.abs().max().clamp(min=1))


@pytest.mark.parametrize("size", [(160, 160), (224, 224), (240, 240), (96, 128)])
@pytest.mark.parametrize("name", ["seed_efficientnet_b0", "seed_efficientnet_b1"])
def test_padding_is_fixed_at_every_size(files, name, size):
    overlay, wanted = files(name)
    model = timm.create_model(f"lowzoo/{name}", pretrained=True, pretrained_cfg_overlay=overlay)
    assert _largest_difference(model, name, wanted, size) < 1e-5


@pytest.mark.parametrize(
    ("name", "right", "wrong"), [("seed_efficientnet_b0", 224, 240), ("seed_efficientnet_b1", 240, 224)]
)
def test_timms_padding_agrees_only_where_the_catalog_says(files, name, right, wrong):
    overlay, wanted = files(name)
    plain = timm.create_model(
        f"tf_{name.removeprefix('seed_')}",
        pretrained=True,
        num_classes=0,
        pretrained_cfg_overlay=overlay | {"num_classes": 0},
    )
    assert _largest_difference(plain, name, wanted, (right, right)) < 1e-5
    assert _largest_difference(plain, name, wanted, (wrong, wrong)) > 1e-3


def test_squeeze_excite_stands_before_the_activation(files):
    name = "seed_mobilenetv3_large"
    overlay, wanted = files(name)
    model = timm.create_model(f"lowzoo/{name}", pretrained=True, pretrained_cfg_overlay=overlay)
    assert _largest_difference(model, name, wanted, (96, 96)) < 1e-5
    plain = timm.create_model(
        "mobilenetv3_large_100", pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay | {"num_classes": 0}
    )
    assert _largest_difference(plain, name, wanted, (96, 96)) > 1e-3
    maps = timm.create_model(f"lowzoo/{name}", pretrained=True, pretrained_cfg_overlay=overlay, features_only=True)
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.allclose(maps.eval()(images)[-1], model.forward_features(images), rtol=1e-4, atol=1e-4)


def test_positions_are_resampled_as_the_authors_do(files):
    family = "sslight_dino_vitt16"
    overlay, wanted = files(family)
    name = "lowzoo/sslight_dino_vit_tiny"
    for size in (224, 96, 160):
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, img_size=size)
        assert _largest_difference(model, family, wanted, (size, size), positions="dino") < 1e-5
    moving = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, dynamic_img_size=True)
    for shape in ((96, 96), (64, 128), (224, 224)):
        assert _largest_difference(moving, family, wanted, shape, positions="dino") < 1e-5
    assert _largest_difference(moving, family, wanted, (96, 96), positions="timm") > 1e-3, "timm's rule is another"
    adapted = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay=overlay, img_size=96, num_classes=3, in_chans=1
    )
    assert torch.equal(adapted.norm.weight, wanted["norm.weight"])
    assert torch.allclose(adapted.patch_embed.proj.weight, wanted["patch_embed.proj.weight"].sum(1, keepdim=True))
    maps = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, img_size=96, features_only=True)
    with torch.no_grad():
        assert maps(torch.zeros(1, 3, 96, 96))[-1].shape == (1, 192, 6, 6)


@pytest.mark.parametrize(("name", "width"), [("lowzoo_resnet50w2", 4096), ("lowzoo_resnet50w4", 8192)])
def test_the_wide_networks_are_known_to_timm(name, width):
    with torch.device("meta"):
        model = timm.create_model(name)
    assert (model.num_features, model.conv1.out_channels) == (width, width // 32)
    assert timm.is_model(name)
