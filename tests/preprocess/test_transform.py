"""The preprocessing is timm's evaluation transform, bit for bit."""

import dataclasses
import inspect
import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from PIL import __version__ as pil_version
from timm.data import create_transform, resolve_data_config
from timm.data.transforms_factory import transforms_imagenet_eval

from lowzoo.base.errors import LowzooError
from lowzoo.preprocess import transform
from lowzoo.preprocess.framing import frame
from lowzoo.preprocess.input_facts import CROP_MODES, input_facts
from lowzoo.preprocess.transform import FILTERS, Preprocessing, preprocess, resizes_tall_first, to_uint8_input

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHAPES = [(75, 100), (100, 67), (64, 64), (97, 101), (1, 1), (7, 120), (120, 7), (50, 100), (33, 65), (200, 31)]
# Older releases of timm take bilinear for rectangles, whatever filter is named.
RECTANGLES = "ResizeKeepRatio(scale_size, interpolation" in inspect.getsource(transforms_imagenet_eval)
SIZES = [(64, 64), *([(48, 96), (96, 48), (33, 70), (32, 31)] if RECTANGLES else [])]


def timm_input(image, cfg):
    """What timm's own transform of this configuration gives."""
    return create_transform(**resolve_data_config({}, pretrained_cfg=cfg), is_training=False)(Image.fromarray(image))


@pytest.mark.parametrize("crop_pct", [0.5, 0.875, 0.9, 1.0, 1.15])
@pytest.mark.parametrize("crop_mode", CROP_MODES)
@pytest.mark.parametrize("interpolation", FILTERS)
def test_equals_timm(crop_mode, interpolation, crop_pct):
    """Exactly: both resize by PIL on 8 bits."""
    for size, shape in itertools.product(SIZES, SHAPES):
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        cfg = {"input_size": (3, *size), "crop_pct": crop_pct, "crop_mode": crop_mode, "interpolation": interpolation}
        cfg |= {"mean": MEAN, "std": STD}
        spec = Preprocessing.of(input_facts(cfg, "it"))
        assert torch.equal(preprocess(image, spec), timm_input(image, cfg)), (size, shape)


@pytest.mark.parametrize("size", [96, 224])
@pytest.mark.parametrize("shape", [(375, 500), (500, 333), (7, 300)])
def test_equals_timm_for_photographs_of_usual_sizes(size, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for crop_mode in CROP_MODES:
        cfg = {"input_size": (3, size, size), "crop_mode": crop_mode, "mean": MEAN, "std": STD, "crop_pct": 0.875}
        assert torch.equal(preprocess(image, input_facts(cfg, "it")), timm_input(image, cfg))


def test_what_a_configuration_leaves_open_is_what_timm_takes_for_it():
    image = np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    for cfg in (
        {"input_size": (3, 40, 40)},
        {"input_size": (3, 40, 60 if RECTANGLES else 40), "crop_pct": None, "crop_mode": None},
    ):
        assert torch.equal(preprocess(image, input_facts(cfg, "it")), timm_input(image, cfg))


@pytest.mark.parametrize("crop_mode", CROP_MODES)
@pytest.mark.parametrize("shape", [(75, 100), (120, 40), (64, 64)])
def test_grey_equals_timm(crop_mode, shape):
    """One channel is PIL's conversion to luma, which timm's reader does for such a network."""
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    height, width = (48, 64) if RECTANGLES else (48, 48)
    cfg = {"input_size": (1, height, width), "mean": (0.3,), "std": (0.2,), "crop_mode": crop_mode, "crop_pct": 0.9}
    transform = create_transform(**resolve_data_config({}, pretrained_cfg=cfg), is_training=False)
    found = preprocess(image, input_facts(cfg, "it"))
    assert found.shape == (1, height, width)
    assert torch.equal(found, transform(Image.fromarray(image).convert("L")))


def test_channels_of_any_number_are_prepared_alike():
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    five = np.concatenate([image, image[:, :, :2]], axis=2)
    cfg = {"input_size": (3, 32, 48), "mean": MEAN, "std": STD, "crop_mode": "border"}
    rgb = preprocess(image, input_facts(cfg, "it"))
    wide = {**cfg, "input_size": (5, 32, 48), "mean": (*MEAN, *MEAN[:2]), "std": (*STD, *STD[:2])}
    assert torch.equal(preprocess(five, input_facts(wide, "it")), torch.cat([rgb, rgb[:2]]))
    with pytest.raises(LowzooError, match="takes 5 channels, the picture has 3"):
        preprocess(image, input_facts(wide, "it"))


def test_uint8_input_is_the_same_before_normalisation():
    image = np.random.default_rng(0).integers(0, 256, (120, 90, 3), dtype=np.uint8)
    spec = Preprocessing((3, 64, 64), MEAN, STD, "bicubic", 0.9)
    pixels = to_uint8_input(image, spec)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (64, 64, 3)
    normalised = (pixels.transpose(2, 0, 1) / 255 - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]
    np.testing.assert_allclose(preprocess(image, spec).numpy(), normalised, atol=1e-5)


def test_the_picture_is_left_alone():
    image = np.full((64, 64, 3), 7, np.uint8)
    preprocess(image, Preprocessing((3, 64, 64), MEAN, STD, "bicubic", 1.0))
    assert (image == 7).all()


def test_a_line_of_pixels_stays_a_line():
    image = np.full((1, 500, 3), 7, np.uint8)
    spec = Preprocessing((3, 32, 32), (0.5,) * 3, STD, "bicubic", 1.0, "border")
    assert frame(1, 500, spec).resized == (1, 32)
    pixels = to_uint8_input(image, spec)
    assert (pixels[15] == 7).all()
    assert (np.delete(pixels, 15, 0) == 128).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"interpolation": "random"},
            "unknown interpolation 'random' in the configuration of it",
        ),
        ({"crop_mode": "centre"}, "unknown crop_mode 'centre' in the configuration of it"),
        ({"crop_pct": 20}, "sets crop_pct = 20"),
        ({"crop_pct": "0.9"}, "sets crop_pct = '0.9'"),
        ({"crop_pct": float("nan")}, "sets crop_pct = nan"),
        ({"mean": (0.5, 0.5)}, r"sets mean = \(0.5, 0.5\), .* Make it 3 numbers"),
        ({"std": (0.5, 0.5, 0)}, r"sets std = \(0.5, 0.5, 0\), .* Make it numbers other than 0"),
        ({"input_size": (3, 32)}, r"sets input_size = \(3, 32\)"),
        ({"input_size": (1, 32, 32), "mean": MEAN}, "sets mean = .* Make it 1 numbers"),
        ({"min_input_size": (3, 48, 48)}, "32 px are too few for it, which takes 48 px at least"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(changes, message):
    with pytest.raises(LowzooError, match=message):
        input_facts({"input_size": (3, 32, 32), **changes}, "it")


def test_a_spec_from_elsewhere_is_checked_too():
    spec = Preprocessing((3, 8, 8), MEAN, STD, "bicubic", 1.0)
    with pytest.raises(LowzooError, match="unknown interpolation 'magic'"):
        Preprocessing.of(dataclasses.replace(spec, interpolation="magic"))
    assert Preprocessing.of(dataclasses.replace(spec, mean=(0.5,))).mean == (0.5, 0.5, 0.5)


def test_the_size_of_a_test_has_its_own_crop():
    cfg = {"input_size": (3, 224, 224), "test_input_size": (3, 288, 288), "crop_pct": 0.9, "test_crop_pct": 1.0}
    assert input_facts(cfg, "it").crop_pct == 0.9
    assert input_facts(cfg, "it", size=288).crop_pct == 1.0
    assert input_facts(cfg, "it", size=(256, 288)).crop_pct == 0.9
    assert input_facts(cfg, "it", size=(128, 256)).input_size == (3, 128, 256)


def test_whether_rows_of_tall_pictures_are_resized_first():
    """PIL does so since version 13, and what is rounded to bytes in between is then something else."""
    assert resizes_tall_first() == (int(pil_version.partition(".")[0]) >= 13)


@pytest.mark.parametrize("shape", [(900, 9), (9, 900), (3000, 31), (40, 4000)])
@pytest.mark.parametrize("crop_pct", [1.0, 0.875])
def test_the_shown_part_of_a_strip_is_that_of_the_whole(
    shape: tuple[int, int], crop_pct: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    strip = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    spec = Preprocessing((3, 64, 64), (0.5,) * 3, (0.5,) * 3, "bicubic", crop_pct)
    monkeypatch.setattr(transform, "_WHOLE", 10)
    part = to_uint8_input(strip, spec)
    monkeypatch.setattr(transform, "_WHOLE", 10**9)
    whole = to_uint8_input(strip, spec)
    difference = np.abs(part.astype(int) - whole.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def test_a_line_of_pixels_takes_no_more_memory_than_it_has() -> None:
    spec = Preprocessing((3, 224, 224), (0.5,) * 3, (0.5,) * 3, "bicubic", 1.0)
    line = np.full((65_000, 1, 3), 7, np.uint8)  # 224 px wide, it would be 14,560,000 px long
    assert (to_uint8_input(line, spec) == 7).all()
