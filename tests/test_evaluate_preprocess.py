"""The preprocessing is timm's evaluation transform, bit for bit."""

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from lowzoo.errors import LowzooError
from lowzoo.evaluate.preprocess import Preprocessing, preprocess, to_uint8_input

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize(("size", "crop_pct", "interpolation"), [(96, 1.0, "bicubic"), (224, 0.875, "bilinear")])
@pytest.mark.parametrize("shape", [(375, 500), (500, 333), (64, 64), (97, 101), (1, 1), (7, 300)])
def test_equals_timm(size, crop_pct, interpolation, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    spec = Preprocessing((3, size, size), MEAN, STD, interpolation, crop_pct)
    transform = create_transform((3, size, size), mean=MEAN, std=STD, crop_pct=crop_pct, interpolation=interpolation)
    assert torch.equal(preprocess(image, spec), transform(Image.fromarray(image)))


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


def test_oblong_input():
    image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    assert to_uint8_input(image, Preprocessing((3, 32, 64), MEAN, STD, "bilinear", 0.9)).shape == (32, 64, 3)
    assert to_uint8_input(image, Preprocessing((3, 64, 32), MEAN, STD, "bilinear", 0.9)).shape == (64, 32, 3)


def test_what_cannot_be_fed_is_refused():
    with pytest.raises(LowzooError, match="takes 1 channels"):
        Preprocessing.of(Preprocessing((1, 8, 8), (0.5,), (0.5,), "bicubic", 1.0))
    with pytest.raises(LowzooError, match="unknown interpolation 'magic'"):
        Preprocessing.of(Preprocessing((3, 8, 8), MEAN, STD, "magic", 1.0))
