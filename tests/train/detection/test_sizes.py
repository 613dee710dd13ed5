"""Sizes of images and anchors follow from one's own data where nothing names them."""

import pytest
import timm

from lowzoo.detection.sets.opening import open_sets
from lowzoo.train.detection.config import resolve
from tests.helpers.detection import drawn_set

pytest.importorskip("faster_coco_eval")


def _config(data, **options):
    return resolve(None, timm.create_model("test_efficientnet", num_classes=0), data, masks=False, options=options)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return open_sets(drawn_set(tmp_path_factory.mktemp("set")), with_masks=False).train


def test_images_keep_their_size_and_anchors_fit_the_smaller_objects(data):
    config = _config(data)
    assert (config.test_size, config.train_sizes, config.longest) == (96, (96,), 192)
    # Squares and discs of 19 to 32 px: the finest map takes them, and not those that are coarser.
    assert config.network.anchor_sizes in (((16,), (32,), (64,), (128,)), ((24,), (48,), (96,), (192,)))
    finest = config.network.anchor_sizes[0][0]
    assert config.network.canonical_size == round(2 * finest / 2**0.5)


def test_anchors_grow_with_the_images_and_can_be_named(data):
    double = _config(data, image_size=192)
    assert (double.test_size, double.train_sizes) == (192, (192,))
    assert double.network.anchor_sizes[0][0] >= 1.5 * _config(data).network.anchor_sizes[0][0]
    named = _config(data, network={"anchor_sizes": [[20], [40], [80], [160]]})
    assert named.network.anchor_sizes == ((20,), (40,), (80,), (160,))


def test_anchors_are_not_below_what_the_finest_map_can_place(data):
    assert _config(data, image_size=32).network.anchor_sizes[0][0] == 16


def test_preset_sizes_move_along(data):
    network = timm.create_model("resnet18", num_classes=0)
    found = resolve("sslight_fpn_1x", network, data, masks=False, options={"image_size": 400, "steps": 900})
    assert found.train_sizes == (320, 336, 352, 368, 384, 400)
    assert found.longest == 666
    assert found.milestones == pytest.approx((2 / 3, 8 / 9))
    assert found.warmup == pytest.approx(1 / 90)


def test_a_vit_sees_twelve_patches_a_side_and_has_a_spatial_prior(data):
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=1)
    config = resolve(None, vit, data, masks=False, options={})
    assert (config.test_size, config.train_sizes, config.network.spatial_prior) == (192, (192,), True)
    named = resolve(None, vit, data, masks=False, options={"image_size": 96}, settings=["network.spatial_prior=false"])
    assert (named.test_size, named.network.spatial_prior) == (96, False)
    assert not _config(data).network.spatial_prior
