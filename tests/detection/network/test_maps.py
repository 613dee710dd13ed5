"""A ViT's map and pyramid: its tokens are timm's, windows hold what they should, positions follow the model's rule."""

import pytest
import timm
import torch

from lowzoo.base.errors import LowzooError
from lowzoo.detection.network.maps import StageMaps, VitPyramid, _in_windows, pyramid_of
from lowzoo.detection.network.shape import DetectorShape
from lowzoo.zoo.architectures.positions import resize_positions

LEVELS = ((16,), (32,), (64,), (128,))


def _vit(**more):
    torch.manual_seed(0)
    return timm.create_model("test_vit", num_classes=0, **more).eval()


def _shape(**more):
    return DetectorShape(strides=(8, 16, 32), anchor_sizes=LEVELS, channels=16, **more)


def test_the_map_at_its_own_size_is_timms():
    vit = _vit()
    side = vit.patch_embed.img_size[0]
    x = torch.randn(2, 3, side, side)
    with torch.no_grad():
        tokens = vit.forward_features(x)[:, vit.num_prefix_tokens :]
        found = VitPyramid(vit, _shape(), "test_vit", "timm").eval()._map(x)
    assert torch.allclose(found.flatten(2).transpose(1, 2), tokens, atol=1e-5)


def test_levels_have_their_strides_at_any_size():
    pyramid = VitPyramid(_vit(), _shape(attention="window", window=3), "test_vit", "timm").eval()
    with torch.no_grad():
        levels = pyramid(torch.randn(1, 3, 96, 160))
    assert {name: tuple(level.shape) for name, level in levels.items()} == {
        "p3": (1, 16, 12, 20),
        "p4": (1, 16, 6, 10),
        "p5": (1, 16, 3, 5),
        "p6": (1, 16, 2, 3),
    }


@pytest.mark.parametrize("rule", ["timm", "dino", "msn"])
def test_positions_are_resampled_by_the_models_rule(rule):
    vit = _vit()
    pyramid = VitPyramid(vit, _shape(), "test_vit", rule)
    _, places = pyramid._places((5, 7))
    own = vit.pos_embed[:, vit.pos_embed.shape[1] - vit.patch_embed.num_patches :]
    wanted = resize_positions(torch.cat((own[:, :1], own), 1), (5, 7), rule)[:, 1:]
    assert torch.equal(places, wanted)


def test_a_window_sees_its_own_tokens_alone():
    block = _vit().blocks[0]
    tokens = torch.randn(1, 6 * 4, 64)
    whole = _in_windows(block, tokens, (6, 4), 2)
    changed = tokens.clone()
    # Upper left window: rows 0 and 1, columns 0 and 1. A constant would be lost in the layer norm.
    changed[0, 0, ::2] += 1
    moved = (_in_windows(block, changed, (6, 4), 2) - whole).abs().amax(-1).view(6, 4) > 0
    assert moved[:2, :2].all()
    assert moved.sum() == 4
    first = block(tokens.view(6, 4, 64)[:2, :2].reshape(1, 4, 64))
    assert torch.allclose(whole.view(6, 4, 64)[:2, :2].reshape(1, 4, 64), first, atol=1e-6)


def test_a_window_as_large_as_the_image_is_attention_everywhere():
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        small = VitPyramid(_vit(), _shape(attention="window", window=4), "test_vit", "timm").eval()._map(x)
        large = VitPyramid(_vit(), _shape(attention="window", window=14), "test_vit", "timm").eval()._map(x)
    assert torch.equal(small, large)


def test_what_carries_no_detector_is_refused():
    with pytest.raises(LowzooError, match="no map of stride 4"):
        StageMaps(timm.create_model("test_vit", num_classes=0), (4, 8), "test_vit")
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, patch_size=14, img_size=112, depth=1)
    with pytest.raises(LowzooError, match="patches of 14 px do not scale to strides 8, 16, 32"):
        VitPyramid(vit, _shape(), "a ViT", "timm")


@pytest.mark.parametrize("strides", [(8, 16, 32), (4, 8, 32)])
def test_a_spatial_prior_is_added_to_every_level(strides):
    shape = DetectorShape(strides=strides, anchor_sizes=LEVELS, channels=16, spatial_prior=True)
    pyramid = VitPyramid(_vit(), shape, "test_vit", "timm").eval()
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        prior = pyramid.prior(x)
        assert [tuple(each.shape) for each in prior] == [(1, 16, 64 // s, 96 // s) for s in strides]
        found = pyramid._map(x)
        for scale, added, level in zip(pyramid.scales, prior, pyramid(x).values(), strict=False):
            assert torch.equal(scale[-2:](scale[:-2](found) + added), level)
            assert added.abs().max() > 0


def test_there_is_no_spatial_prior_unless_a_shape_has_one():
    pyramid = VitPyramid(_vit(), _shape(), "test_vit", "timm")
    assert pyramid.prior is None
    assert not any("prior" in name for name in pyramid.state_dict())


def test_a_spatial_prior_that_fits_no_network_is_refused():
    cnn = timm.create_model("test_efficientnet", num_classes=0)
    with pytest.raises(LowzooError, match="is for a ViT, and test_efficientnet is none"):
        pyramid_of(cnn, _shape(spatial_prior=True), "test_efficientnet", "timm")
    coarse = timm.create_model("vit_tiny_patch16_224", num_classes=0, patch_size=32, img_size=64, depth=1)
    shape = DetectorShape(strides=(8, 16), anchor_sizes=LEVELS[:3], channels=16, spatial_prior=True)
    with pytest.raises(LowzooError, match="a level of 32 px or coarser"):
        VitPyramid(coarse, shape, "coarse", "timm")
