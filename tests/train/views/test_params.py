"""Parameters and crops: functions of (seed, epoch, index), distributed as torchvision's, as sharp as PIL's."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from lowzoo.data.pixels.decode import decode, decode_rgb
from lowzoo.data.stores.samples import demonstration_photos
from lowzoo.train.views import ViewGroup, ViewParams, crop_views, sample_params
from lowzoo.train.views.crops import largest_divisor
from lowzoo.train.views.params import (
    BRIGHTNESS,
    CONTRAST,
    GRAY,
    HUE,
    ORDER,
    RECORD_FIELDS,
    SATURATION,
    SIGMA,
    SOLARISE,
)

GROUPS = (
    ViewGroup(name="global", count=2, size=224, scale=(0.25, 1.0), blur=(1.0, 0.1), solarise=(0.0, 0.2)),
    ViewGroup(name="local", count=8, size=96, scale=(0.05, 0.25), blur=(0.5,)),
)


def draw(count: int, height: int = 375, width: int = 500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    params = [sample_params(GROUPS, 7, 0, index, height, width) for index in range(count)]
    boxes, flips = (np.stack([getattr(p, field) for p in params]) for field in ("boxes", "flips"))
    return boxes, flips, np.stack([p.photometric for p in params])


def test_parameters_are_a_function_of_seed_epoch_and_index() -> None:
    def draws(seed: int, epoch: int, index: int) -> bytes:
        params = sample_params(GROUPS, seed, epoch, index, 375, 500)
        return params.boxes.tobytes() + params.flips.tobytes() + params.photometric.tobytes()

    keys = list(product((0, 1, 2**40), (0, 1), (0, 1, 1_300_000)))
    assert len({draws(*key) for key in keys}) == len(keys)
    assert all(draws(*key) == draws(*key) for key in keys)


def test_global_views_do_not_depend_on_the_groups_beside_them() -> None:
    others = (
        GROUPS[:1],
        (GROUPS[1], GROUPS[0]),
        (GROUPS[0], GROUPS[1].model_copy(update={"count": 2, "blur": (0.0,)}), GROUPS[1]),
    )
    expected = sample_params(GROUPS, 3, 1, 4, 375, 500).record()
    for groups in others:
        first = GROUPS[1].count if groups[0] is GROUPS[1] else 0
        found = sample_params(groups, 3, 1, 4, 375, 500).record()
        np.testing.assert_array_equal(found[first : first + 2], expected[:2])
    # More views of a group leave those before them as they are; groups of one name draw differently.
    more = sample_params(
        (GROUPS[0].model_copy(update={"count": 4, "blur": (0.5,), "solarise": (0.0,)}),), 3, 1, 4, 375, 500
    )
    np.testing.assert_array_equal(more.boxes[:2], expected[:2, :4])
    twins = sample_params((GROUPS[1], GROUPS[1]), 3, 1, 4, 375, 500).boxes
    assert not np.array_equal(twins[:8], twins[8:])


def test_a_record_holds_everything() -> None:
    params = sample_params(GROUPS, 3, 1, 4, 375, 500)
    record = params.record()
    assert (record.shape, record.dtype) == ((10, len(RECORD_FIELDS)), np.float32)
    np.testing.assert_array_equal(record[:, :4], params.boxes)
    np.testing.assert_array_equal(record[:, 4], params.flips)
    np.testing.assert_array_equal(record[:, 5:], params.photometric)


def test_the_photometric_part_does_not_depend_on_the_image() -> None:
    small, large = (sample_params(GROUPS, 3, 1, 4, *shape) for shape in ((64, 64), (375, 500)))
    np.testing.assert_array_equal(small.photometric, large.photometric)
    np.testing.assert_array_equal(small.flips, large.flips)


def test_crops_have_the_stated_area_and_ratio() -> None:
    boxes, _, _ = draw(400)
    top, left, height, width = np.moveaxis(boxes, -1, 0)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 375).all()
    assert (left + width <= 500).all()
    area, ratio = height * width / (375 * 500), width / height
    assert ((ratio > 0.74) & (ratio < 1.35)).all()
    # The wider large crops fit this image more often, so only the local ones are even in their shape.
    assert abs(np.log(ratio[:, 2:]).mean()) < 0.01
    for views, (low, high) in ((slice(2), GROUPS[0].scale), (slice(2, 10), GROUPS[1].scale)):
        assert area[:, views].min() > low * 0.97
        assert area[:, views].max() < high * 1.03
    # The largest crops often do not fit and are drawn again, so only the local ones are uniform over the area.
    assert area[:, 2:].mean() == pytest.approx(0.15, abs=0.004)
    assert area[:, 2:].std() == pytest.approx(0.2 / 12**0.5, rel=0.03)


@pytest.mark.parametrize(("height", "width"), [(8, 400), (400, 8), (1, 1), (3, 1000)])
def test_a_box_always_lies_in_an_image_of_any_shape(height: int, width: int) -> None:
    for index in range(20):
        boxes = sample_params(GROUPS, 0, 0, index, height, width).boxes
        assert (boxes[:, 2:] >= 1).all()
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 0] + boxes[:, 2] <= height).all()
        assert (boxes[:, 1] + boxes[:, 3] <= width).all()


def test_probabilities_are_those_of_each_view() -> None:
    _, flips, photometric = draw(1500)
    noise = 4 * (0.25 / 1500) ** 0.5
    assert flips.mean(0) == pytest.approx(np.full(10, 0.5), abs=noise)
    assert photometric[..., GRAY].mean(0) == pytest.approx(np.full(10, 0.2), abs=noise)
    assert (photometric[..., SIGMA] > 0).mean(0) == pytest.approx(np.array([1, 0.1] + [0.5] * 8), abs=noise)
    assert photometric[..., SOLARISE].mean(0) == pytest.approx(np.array([0, 0.2] + [0] * 8), abs=noise)
    assert (photometric[..., HUE] != 0).mean(0) == pytest.approx(np.full(10, 0.8), abs=noise)


def test_jitter_and_blur_fill_their_ranges() -> None:
    photometric = draw(500)[2].reshape(-1, 8)
    sigma = photometric[photometric[:, SIGMA] > 0, SIGMA]
    jittered = photometric[photometric[:, HUE] != 0]
    for values, low, high in (
        *((jittered[:, column], 0.6, 1.4) for column in (BRIGHTNESS, CONTRAST, SATURATION)),
        (jittered[:, HUE], -0.1, 0.1),
        (sigma, 0.1, 2.0),
    ):
        assert low - 1e-6 <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high + 1e-6
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.02 * (high - low))
    assert np.bincount(photometric[:, ORDER].astype(int), minlength=24) == pytest.approx(5000 / 24, rel=0.3)
    unjittered = photometric[photometric[:, HUE] == 0, :4]
    np.testing.assert_array_equal(unjittered, np.broadcast_to([1, 1, 1, 0], unjittered.shape))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_crops_agree_with_pil(interpolation: str) -> None:
    resample = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    groups = [group.model_copy(update={"interpolation": interpolation}) for group in GROUPS]
    for index, (name, data) in enumerate(demonstration_photos()):
        image = decode_rgb(data, name)
        params = sample_params(groups, 0, 0, index, *image.shape[:2])
        crops = [crop for group in crop_views(image, params, groups) for crop in group]
        for crop, (top, left, height, width), flip in zip(crops, params.boxes.tolist(), params.flips, strict=True):
            size = crop.shape[1]
            box = Image.fromarray(image[top : top + height, left : left + width])
            expected = np.asarray(box.resize((size, size), resample))[:, :: -1 if flip else 1].transpose(2, 0, 1)
            difference = np.abs(crop.astype(int) - expected)
            assert difference.mean() < 0.6
            assert np.percentile(difference, 99.9) <= 2


@pytest.mark.parametrize("factor", [1, 2])
def test_crops_of_a_picture_decoded_smaller_are_those_of_the_whole(factor: int) -> None:
    pytest.importorskip("cv2")
    groups = (
        ViewGroup(name="global", count=2, size=32, scale=(0.25, 1.0)),
        ViewGroup(name="local", count=4, size=24, scale=(0.2, 0.5)),
    )
    for index, (name, data) in enumerate(demonstration_photos()):
        whole = decode_rgb(data, name)
        params = sample_params(groups, 0, 0, index, *whole.shape[:2])
        small = decode(data, name, divisor=lambda height, width: factor)
        assert (small.size, small.divisor) == (whole.shape[:2], factor)
        assert small.pixels.shape[:2] == tuple(math.ceil(side / factor) for side in whole.shape[:2])
        ours = crop_views(small.pixels, params, groups, small.divisor)
        for crops, expected in zip(ours, crop_views(whole, params, groups), strict=True):
            difference = np.abs(crops.astype(int) - expected)
            assert difference.mean() < 2.5
            assert (difference == 0).all() or factor > 1


@pytest.mark.parametrize(
    ("whole", "local", "divisor"),
    [
        # Height and width of a global crop, then of a local one: at least 2 x 224 and 2 x 96 px have to be left.
        ((896, 896), (384, 384), 2),
        ((895, 896), (384, 384), 1),
        ((896, 4000), (384, 383), 1),
        ((1792, 1792), (768, 768), 4),
        ((4000, 4000), (1536, 1535), 4),
        ((4000, 3584), (1536, 1536), 8),
        ((10, 10), (10, 10), 1),
    ],
)
def test_a_picture_is_decoded_as_small_as_its_crops_allow(
    whole: tuple[int, int], local: tuple[int, int], divisor: int
) -> None:
    groups = (
        ViewGroup(name="global", count=2, size=224, scale=(0.25, 1.0)),
        ViewGroup(name="local", count=1, size=96, scale=(0.05, 0.25)),
    )
    boxes = np.array([[0, 0, 9000, 9000], [5, 7, *whole], [0, 0, *local]])
    assert largest_divisor(boxes, groups) == divisor


def test_crops_come_group_by_group_as_planes() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 1] = 200
    image[:, :30, 2] = 255
    params = ViewParams(np.array([[0, 0, 40, 60]] * 3), np.array([False, True, False]), np.zeros((3, 8), np.float32))
    groups = (
        ViewGroup(name="global", count=2, size=32, scale=(0.25, 1.0)),
        ViewGroup(name="local", count=1, size=16, scale=(0.05, 0.25)),
    )
    first, second = crop_views(image, params, groups)
    assert (first.shape, first.dtype, second.shape) == ((2, 3, 32, 32), np.uint8, (1, 3, 16, 16))
    assert (first[:, 0] == 0).all()
    assert (first[:, 1] == 200).all()
    assert (first[0, 2, :, :14] == 255).all()
    assert (first[1, 2, :, 18:] == 255).all()
    np.testing.assert_array_equal(first[1], first[0, ..., ::-1])


def test_crops_do_not_touch_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    before = image.copy()
    for group in crop_views(image, sample_params(GROUPS, 0, 0, 0, 50, 70), GROUPS):
        torch.from_numpy(group).zero_()
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": (0.5, 0.2)}, "scale must run from low to high"),
        ({"scale": (0.0, 1.0)}, "greater than 0"),
        ({"scale": (0.2, float("nan"))}, "less than or equal to 1"),
        ({"ratio": (4 / 3, 3 / 4)}, "ratio must run from low to high"),
        ({"blur": (0.5, 0.5, 0.5)}, "blur needs one probability or one for each of the 2 views"),
        ({"solarise": ()}, "solarise needs one probability or one for each of the 2 views"),
        ({"blur": (1.5,)}, "less than or equal to 1"),
        ({"jitter": (0.4, 0.4, 0.4, 0.6)}, "less than or equal to 0.5"),
        ({"blur_sigma": (0.0, 2.0)}, "greater than 0"),
        ({"count": 0}, "greater than 0"),
        ({"interpolation": "nearest"}, "'bilinear' or 'bicubic'"),
        ({"blurr": (0.5,)}, "Extra inputs are not permitted"),
    ],
)
def test_impossible_groups_are_refused(change: dict[str, object], message: str) -> None:
    fields = {"name": "global", "count": 2, "size": 32, "scale": (0.25, 1.0)}
    with pytest.raises(ValidationError, match=message):
        ViewGroup.model_validate(fields | change)
