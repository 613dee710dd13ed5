"""Parity: figures against hand-computed ones, and every way in which an artifact may be wrong is refused."""

import dataclasses

import numpy as np
import pytest
import torch

from lowzoo.base.errors import LowzooError
from lowzoo.export.parity.checker import leave_one_out, real_images
from lowzoo.export.parity.parity import Parity, bounds_of, compare
from lowzoo.export.parity.parity import enforce as enforce_bounds
from lowzoo.export.spec.bounds import BOUNDS, Bounds, ParityError
from lowzoo.export.spec.spec import ExportSpec, MaxLoss

GOOD = Parity(
    images=4,
    max_error=1e-6,
    mean_error=1e-7,
    relative_error=1e-6,
    min_cosine=1.0,
    mean_cosine=1.0,
    knn_agreement=1.0,
    engine="none",
)


def enforce(parity: Parity, precision: str) -> None:
    enforce_bounds(parity, BOUNDS[precision], precision)


def test_equal_features():
    features = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    parity = compare(features, features.copy(), "engine 1")
    assert (parity.max_error, parity.mean_error, parity.relative_error) == (0, 0, 0)
    assert parity.min_cosine == pytest.approx(1)
    assert (parity.images, parity.knn_agreement, parity.engine) == (8, 1, "engine 1")
    enforce(parity, "fp32")


def test_figures_by_hand():
    reference = np.array([[3, 4], [0, 5]], np.float32)
    found = np.array([[4, 3], [0, 5]], np.float32)
    parity = compare(reference, found, "")
    assert parity.max_error == 1
    assert parity.mean_error == 0.5
    assert parity.relative_error == pytest.approx(1 / 5)
    assert parity.min_cosine == pytest.approx(24 / 25)
    assert parity.mean_cosine == pytest.approx((24 / 25 + 1) / 2)


def test_a_changed_neighbour_is_counted():
    reference = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], np.float32)
    found = reference.copy()
    found[1] = [0.1, 1.01]  # now nearest to the fourth, as is the third; the first has lost its neighbour
    assert compare(reference, found, "").knn_agreement < 1
    with pytest.raises(ParityError, match="k-NN agreement"):
        enforce(compare(reference, found, ""), "fp32")


def test_equally_near_neighbours_are_no_disagreement():
    reference = np.tile(np.array([3, 4], np.float32), (6, 1))
    found = reference + np.random.default_rng(0).normal(scale=1e-6, size=(6, 2)).astype(np.float32)
    parity = compare(reference, found, "")
    assert parity.knn_agreement == 1
    enforce(parity, "fp32")


def test_one_changed_neighbour_of_many_is_too_many():
    angles = np.cumsum(0.03 + 0.001 * np.arange(64))
    reference = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    angles[9] = (angles[9] + angles[10]) / 2  # the tenth is nearest to the eleventh now
    found = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    parity = compare(reference, found, "")
    assert parity.knn_agreement == 63 / 64
    with pytest.raises(ParityError, match="k-NN agreement"):
        enforce(parity, "fp32")


def test_a_wrong_scale_is_refused_though_every_cosine_is_1():
    features = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    parity = compare(features, features * 1.01, "")
    assert parity.min_cosine == pytest.approx(1)
    with pytest.raises(ParityError, match="relative error"):
        enforce(parity, "fp32")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(bad):
    features = np.ones((3, 2), np.float32)
    broken = features.copy()
    broken[1, 1] = bad
    with pytest.raises(ParityError, match="1 of 6 features by the artifact"):
        compare(features, broken, "")
    with pytest.raises(ParityError, match="1 of 6 features by PyTorch"):
        compare(broken, features, "")


def test_dead_features_are_no_agreement():
    zeros = np.zeros((3, 2), np.float32)
    with pytest.raises(ParityError, match="smallest cosine"):
        enforce(compare(zeros, zeros, ""), "fp32")


def test_other_shapes_are_refused():
    with pytest.raises(ParityError, match=r"shape \(3, 4\), PyTorch \(3, 2\)"):
        compare(np.ones((3, 2), np.float32), np.ones((3, 4), np.float32), "")


@pytest.mark.parametrize(
    "field", [name for name, bound in dataclasses.asdict(BOUNDS["fp32"]).items() if bound is not None]
)
def test_every_bound_counts(field):
    enforce(GOOD, "fp32")
    beyond = getattr(BOUNDS["fp32"], field) * (1.01 if field == "relative_error" else 0.99)
    for value in (beyond, float("nan")):
        with pytest.raises(ParityError) as refused:
            enforce(dataclasses.replace(GOOD, **{field: value}), "fp32")
        assert ";" not in refused.value.message, "another bound was broken too"


def test_the_images_are_photographs_and_pictures():
    images = real_images()
    assert len(images) == 64
    assert {image.dtype for image in images} == {np.dtype(np.uint8)}
    assert len({image.tobytes() for image in images}) == 64


def test_a_lossy_file_is_held_to_its_stated_loss():
    bounds = bounds_of(ExportSpec(precision="int8", max_loss=MaxLoss(2.0)))
    assert bounds.knn_loss == 2.0
    enforce_bounds(dataclasses.replace(GOOD, knn_loss=1.9), bounds, "int8")
    for loss, said in ((2.1, "k-NN loss in points 2.10 > 2"), (float("nan"), "points nan"), (None, "not measured")):
        with pytest.raises(ParityError, match=said):
            enforce_bounds(dataclasses.replace(GOOD, knn_loss=loss), bounds, "int8")
    by_cosine = bounds_of(ExportSpec(precision="int8", max_loss=MaxLoss.parse("cosine:0.99")))
    assert by_cosine.knn_loss is None
    with pytest.raises(ParityError, match=r"mean cosine 0\.980000 < 0\.99"):
        enforce_bounds(dataclasses.replace(GOOD, mean_cosine=0.98), by_cosine, "int8")
    assert bounds_of(ExportSpec(precision="fp16")) == Bounds(0.05, 0.9995, 0.9)


def test_leave_one_out_counts_no_image_as_its_own_neighbour():
    # Two bundles of rays, twelve in each; one ray of each bundle has the other's label.
    angles = np.concatenate([np.linspace(0, 0.1, 12), np.linspace(1.5, 1.6, 12)])
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    labels = torch.tensor([0] * 12 + [1] * 12)
    assert leave_one_out(features, labels) == 100
    labels[3], labels[20] = 1, 0
    assert leave_one_out(features, labels) == pytest.approx(100 * 22 / 24)
    with pytest.raises(LowzooError, match="too few"):
        leave_one_out(features[:9], labels[:9])
