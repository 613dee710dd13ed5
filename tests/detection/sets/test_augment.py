"""Changes of images in training: objects, masks and pixels move together, and nothing depends on anything but a key."""

import numpy as np
import pytest

from lowzoo.detection.sets.augment import Augmentation, Change, clipped, recolored
from lowzoo.detection.sets.batches import Drawn, Plan, prepare
from lowzoo.detection.sets.opening import open_sets
from tests.helpers.detection import drawn_set

pytest.importorskip("faster_coco_eval")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return open_sets(drawn_set(tmp_path_factory.mktemp("set")), with_masks=True).train


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.9])
@pytest.mark.parametrize("place", [(0.0, 1.0), (0.6, 0.3)])
def test_objects_stand_where_their_pixels_are(data, flip, scale, place):
    found = 0
    for index in range(len(data)):
        one = prepare(data, Drawn(index, 96, 0, Change(flip, scale, place)), 200, with_masks=True)
        side = min(96, round(96 * scale))
        assert one.pixels.shape == (side, side, 3)
        for box, label, mask in zip(one.boxes, one.labels, one.masks, strict=True):
            assert (box >= 0).all()
            assert (box <= side).all()
            rows, columns = np.nonzero(mask)
            around = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert np.abs(around - box).max() <= 2.5
            # A disc is red, on a grey ground, and lies over squares.
            if data.class_names[label - 1] == "disc":
                assert one.pixels[mask > 0][:, 0].mean() > 200
            found += 1
    assert found >= 4


def test_what_a_crop_takes_away_is_no_object():
    boxes = np.array([[0, 0, 10, 10], [-9, 0, 1, 10], [-5, -5, 5, 5], [30, 0, 40, 10]], np.float32)
    inside, seen = clipped(boxes, (20, 20))
    # A tenth of the second is left, a fourth of the third, nothing of the last.
    assert seen.tolist() == [True, False, True, False]
    assert inside[2].tolist() == [0, 0, 5, 5]


def test_colors():
    red = np.full((4, 4, 3), (200, 20, 20), np.uint8)
    assert np.array_equal(recolored(red, ()), red)
    assert np.abs(recolored(red, (1, 1, 1, 0)).astype(int) - red).max() <= 2
    assert recolored(red, (1, 1, 1, 1 / 3))[0, 0].argmax() == 1
    assert np.ptp(recolored(red, (1, 1, 0, 0))[0, 0].astype(int)) == 0
    assert recolored(red, (0.5, 1, 1, 0)).mean() == pytest.approx(red.mean() / 2, abs=2)


def _plan(**more):
    return Plan(np.array([(40, 60)] * 8), 4, 3, (32,), 96, Augmentation(**more), 32)


def test_changes_are_a_function_of_seed_and_step():
    plan = _plan(scale=(0.5, 2.0), color=0.4)
    first, second = plan.images(0), plan.images(1)
    assert first == _plan(scale=(0.5, 2.0), color=0.4).images(0)
    changes = [one.change for one in (*first, *second)]
    assert len({change.scale for change in changes}) == 8
    assert all(0.5 <= change.scale <= 2 for change in changes)
    assert all(0.6 <= factor <= 1.4 for change in changes for factor in change.colors[:3])
    assert all(abs(change.colors[3]) <= 0.05 for change in changes)
    # Pictures, their sizes and their mirroring are those without it.
    plain = [*_plan().images(0), *_plan().images(1)]
    assert [(one.index, one.shorter, one.change.flip) for one in plain] == [
        (one.index, one.shorter, one.change.flip) for one in (*first, *second)
    ]
    assert {(one.change.scale, one.change.colors) for one in plain} == {(1.0, ())}
    assert max(plan.canvas(first)) <= max(_plan().canvas(plain[:4]))
