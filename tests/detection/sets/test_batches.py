"""Which images a step sees: a function of seed and step, however many processes and parts there are."""

import numpy as np
import pytest
import torch

from lowzoo.base.errors import LowzooError
from lowzoo.detection.sets.augment import Augmentation, Change
from lowzoo.detection.sets.batches import Drawn, Plan, Steps, fitted, normalised, prepare
from lowzoo.detection.sets.opening import open_sets
from tests.helpers.detection import drawn_set

pytest.importorskip("faster_coco_eval")


def _plan(sizes, batch, **more):
    return Plan(np.array(sizes), batch, 0, (32, 48), 96, Augmentation(), 32, **more)


def test_sizes_as_detectron2_has_them():
    assert fitted(480, 640, 800, 1333) == (800, 1067)
    assert fitted(640, 480, 800, 1333) == (1067, 800)
    assert fitted(300, 1000, 800, 1333) == (400, 1333)


def test_an_epoch_holds_each_image_and_a_step_one_orientation():
    plan = _plan([(40, 60)] * 7 + [(60, 40)] * 6, 4)
    assert plan.steps_per_epoch == 4
    seen = [one.index for step in range(4) for one in plan.images(step)]
    assert set(seen) == set(range(13))
    assert len(seen) == 16
    lying = [{one.index < 7 for one in plan.images(step)} for step in range(3)]
    assert sum(len(kinds) == 1 for kinds in lying) >= 2
    assert plan.images(5) == _plan([(40, 60)] * 7 + [(60, 40)] * 6, 4).images(5)
    assert [o.index for o in plan.images(0)] != [o.index for o in plan.images(4)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return open_sets(drawn_set(tmp_path_factory.mktemp("set")), with_masks=True).train


def test_processes_and_parts_divide_a_step(data):
    plan = _plan([(96, 96)] * 6, 4)
    (whole,) = Steps(data, plan, with_masks=True)[1]
    parts = [Steps(data, plan, with_masks=True, parts=2, rank=r, processes=2)[1] for r in (0, 1)]
    pieces = [parts[0][0], parts[1][0], parts[0][1], parts[1][1]]
    assert torch.equal(torch.cat([piece.pixels for piece in pieces]), whole.pixels)
    assert [key for piece in pieces for key in piece.keys] == whole.keys
    boxes = [target["boxes"] for piece in pieces for target in piece.targets]
    assert all(torch.equal(a, b["boxes"]) for a, b in zip(boxes, whole.targets, strict=True))


def test_boxes_and_masks_move_with_the_picture(data):
    plan = _plan([(96, 96)] * 6, 6)
    for step in range(3):
        for batch in Steps(data, plan, with_masks=True)[step]:
            for target in batch.targets:
                for box, mask in zip(target["boxes"], target["masks"], strict=True):
                    rows, columns = torch.where(mask > 0)
                    around = torch.stack((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)).float()
                    assert (around - box).abs().max() <= 1.5


def test_padding_is_zero(data):
    plan = _plan([(96, 96)] * 6, 2)
    (batch,) = Steps(data, plan, with_masks=False)[0]
    images = normalised(batch.pixels, batch.sizes, (0.5,) * 3, (0.25,) * 3)
    for image, (height, width) in zip(images, batch.sizes, strict=True):
        assert not image[:, height:].any()
        assert not image[:, :, width:].any()
        assert image[:, :height, :width].any()


def test_another_image_stands_in_for_one_that_cannot_be_read(tmp_path):
    folder = drawn_set(tmp_path)
    (folder / "train" / "2.png").write_bytes(b"nothing")
    data = open_sets(folder, with_masks=False).train
    plan = _plan([(96, 96)] * 6, 6)
    (batch,) = Steps(data, plan, with_masks=False)[0]
    assert len(batch.sizes) == 6
    assert len(batch.bad) == 1
    assert "2.png" in batch.bad[0]


def test_an_image_of_another_size_than_annotated_is_refused_by_name(tmp_path):
    from PIL import Image

    folder = drawn_set(tmp_path)
    data = open_sets(folder, with_masks=False).train
    Image.new("RGB", (50, 60)).save(folder / "train" / "3.png")
    told = r"3\.png is 50 x 60 pixels, and its annotations are for 96 x 96"
    # At the door, and not after hours at the first step that sees it, or at the score.
    with pytest.raises(LowzooError, match=rf"1 of the 6 images of .*{told}"):
        open_sets(folder, with_masks=False)
    with pytest.raises(LowzooError, match=told):
        Steps(data, _plan([(96, 96)] * 6, 6), with_masks=False)[0]


def test_an_image_whose_objects_were_all_cut_away_is_seen_whole(data):
    index = 0
    width, height = data.images[index].width, data.images[index].height
    for place in ((0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)):
        one = Drawn(index, 96, 0, Change(scale=8.0, place=place))
        found = prepare(data, one, 96, with_masks=True)
        assert found.pixels.shape[:2] == (height, width) == (96, 96)
        assert len(found.boxes) == len(found.labels) == len(found.masks) > 0
