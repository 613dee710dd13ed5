"""AP equals pycocotools' on the same detections, crowds and empty images included."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from lowzoo.detection.scoring import NAMES, as_coco, pasted, score, truth_of
from lowzoo.detection.sets import masks
from lowzoo.detection.sets.coco import read_coco
from tests.helpers.detection import part, write_annotations

pytest.importorskip("faster_coco_eval")


def _noisy(truth, random):
    """Detections near the truth, some doubled, some of another class, some in crowds, some nowhere."""
    found = []
    for each in truth["annotations"]:
        size = next(i for i in truth["images"] if i["id"] == each["image_id"])
        for _ in range(int(random.integers(0, 3))):
            box = np.array(each["bbox"]) + random.normal(0, 2.0, 4)
            box[2:] = box[2:].clip(1)
            mask = np.zeros((size["height"], size["width"]), np.uint8)
            x, y, w, h = (int(v) for v in box.clip(0))
            rows, columns = np.ogrid[: size["height"], : size["width"]]
            # A disc, so that many a mask is small (under 32 x 32 pixels) in a box that is not.
            mask[((rows + 0.5 - y - h / 2) / (h / 2)) ** 2 + ((columns + 0.5 - x - w / 2) / (w / 2)) ** 2 <= 1] = 1
            other = random.random() < 0.2
            found.append(
                {
                    "image_id": each["image_id"],
                    "category_id": 3 if other else each["category_id"],
                    "bbox": box.tolist(),
                    "score": float(random.random()),
                    "segmentation": masks.encode(mask),
                }
            )
    found.append({**found[0], "image_id": truth["images"][-1]["id"], "score": 0.9})  # in the empty image
    return found


@pytest.mark.parametrize(("kind", "theirs"), [("box", "bbox"), ("mask", "segm")])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_pycocotools(tmp_path: Path, kind, theirs, seed):
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    file = write_annotations(tmp_path / "a.json", part(tmp_path / "a", 12, 144, seed=seed, crowd=True))
    data = read_coco(file, tmp_path / "a", with_masks=True)
    truth = truth_of(data, range(len(data)))
    assert any(each["iscrowd"] for each in truth["annotations"])
    found = _noisy(truth, np.random.default_rng(seed))
    # As COCO's results of masks are: without a box, which would lend its area to the mask.
    without = "bbox" if kind == "mask" else "segmentation"
    results = [{key: value for key, value in each.items() if key != without} for each in found]
    ours = score(truth, found, kind)
    with contextlib.redirect_stdout(io.StringIO()):
        whole = coco.COCO(str(file))
        counted = evaluation.COCOeval(whole, whole.loadRes(results), theirs)
        counted.evaluate()
        counted.accumulate()
        counted.summarize()
    wanted = {name: 100 * value for name, value in zip(NAMES, counted.stats, strict=True) if value > -1}
    assert set(ours.figures) == set(wanted)
    for name, value in wanted.items():
        assert abs(ours.figures[name] - value) < 1e-6, name
    assert 0 < ours.figures["AP"] < 100
    assert {"APs", "APm"} <= set(ours.figures)
    precision = counted.eval["precision"][:, :, :, 0, -1]
    for place, name in enumerate(("disc", "square")):
        own = precision[:, :, place]
        assert abs(ours.by_class[name] - 100 * own[own > -1].mean()) < 1e-6


def test_nothing_found_is_zero_and_perfect_is_100(tmp_path: Path):
    file = write_annotations(tmp_path / "a.json", part(tmp_path / "a", 4, 96))
    data = read_coco(file, tmp_path / "a", with_masks=True)
    truth = truth_of(data, range(4))
    assert score(truth, [], "box").figures["AP"] == 0.0
    perfect = [{**each, "score": 1.0} for each in truth["annotations"]]
    for each in perfect:
        each["segmentation"] = masks.packed(each["segmentation"], 96, 96)
    best = score(truth, perfect, "mask")
    assert best.figures["AP"] == pytest.approx(100)
    assert "APl" not in best.figures  # no object is large
    assert set(score(truth, [], "mask").figures) == set(best.figures)


def test_detections_come_back_at_the_size_of_their_image(tmp_path: Path):
    file = write_annotations(tmp_path / "a.json", part(tmp_path / "a", 2, 96))
    data = read_coco(file, tmp_path / "a", with_masks=True)
    found = {"boxes": torch.tensor([[24.0, 24, 48, 48]]), "scores": torch.tensor([0.5]), "labels": torch.tensor([2])}
    (one,) = as_coco(found | {"masks": torch.ones(1, 28, 28)}, (48, 48), data, 0)
    assert one["bbox"] == [48, 48, 48, 48]
    assert one["category_id"] == 7
    assert masks.draw(one["segmentation"], (96, 96)).sum() == 48 * 48


def test_a_mask_is_pasted_where_its_box_is():
    left = torch.zeros(28, 28)
    left[:, :14] = 1
    whole = pasted(left, torch.tensor([10.0, 20.0, 30.0, 40.0]), (50, 60))
    assert whole.sum() == 10 * 20
    assert whole[20:40, 10:20].all()
    assert not pasted(left, torch.tensor([70.0, 20.0, 90.0, 40.0]), (50, 60)).any()
