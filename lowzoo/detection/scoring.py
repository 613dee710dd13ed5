"""AP and AR as COCO counts them, by faster-coco-eval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from lowzoo.detection.sets import masks
from lowzoo.detection.sets.annotated import AnnotatedSet

Kind = Literal["box", "mask"]

# In the order of COCO's summary.
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
_TYPES = {"box": "bbox", "mask": "segm"}


@dataclass(frozen=True)
class Score:
    """What a set of detections is worth.

    Args:
        kind: By boxes or by masks.
        figures: AP, AP50, ... in per cent; one that has no objects to be counted over is absent.
        by_class: AP in per cent by the name of the class, of those that have objects.
    """

    kind: Kind
    figures: Mapping[str, float]
    by_class: Mapping[str, float]


def truth_of(data: AnnotatedSet, indices: Sequence[int]) -> dict[str, Any]:
    """Some images of a set with their objects, as COCO writes them."""
    annotations: list[dict[str, Any]] = []
    for index in indices:
        own = data.images[index]
        for i in range(len(own.labels)):
            entry = {
                "id": len(annotations) + 1,
                "image_id": own.number,
                "category_id": data.category_ids[int(own.labels[i]) - 1],
                "bbox": own.given_boxes[i].tolist(),
                "area": float(own.areas[i]),
                "iscrowd": int(own.crowd[i]),
            }
            if own.segments is not None:
                entry["segmentation"] = own.segments[i]
            annotations.append(entry)
    images = [
        {"id": data.images[i].number, "height": data.images[i].height, "width": data.images[i].width} for i in indices
    ]
    categories = [{"id": i, "name": name} for i, name in zip(data.category_ids, data.class_names, strict=True)]
    return {"images": images, "annotations": annotations, "categories": categories}


def score(truth: Mapping[str, Any], found: Sequence[Mapping[str, Any]], kind: Kind) -> Score:
    """Count detections against the truth.

    Args:
        truth: Images, annotations and categories, as COCO writes them; it is left as it is.
        found: image_id, category_id, score, and bbox (x, y, width, height) or segmentation; with both, `kind` decides.
        kind: By boxes or by masks.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    names = {each["id"]: each["name"] for each in truth["categories"]}
    if not found:
        present = {each["category_id"] for each in truth["annotations"] if not each["iscrowd"]}
        return Score(kind, _nothing_found(truth), {names[i]: 0.0 for i in sorted(present)})
    # The area of a detection decides whether it is small; with a box beside its mask, it would be that of the box.
    given = found if kind == "box" else [{key: v for key, v in each.items() if key != "bbox"} for each in found]
    whole = COCO(_copied(truth), print_function=_silent)
    counted = COCOeval_faster(
        whole, whole.loadRes(_copied(given)), iouType=_TYPES[kind], print_function=_silent, separate_eval=True
    )
    counted.run()
    figures = {name: 100 * float(value) for name, value in zip(NAMES, counted.stats, strict=False) if value > -1}
    # (thresholds, recalls, classes, areas, most detections)
    precision: NDArray[np.float64] = np.asarray(counted.eval["precision"])[:, :, :, 0, -1]
    by_class = {}
    for place, number in enumerate(counted.params.catIds):
        values = precision[:, :, place]
        if (values > -1).any():
            by_class[names[number]] = 100 * float(values[values > -1].mean())
    return Score(kind, figures, by_class)


def _nothing_found(truth: Mapping[str, Any]) -> dict[str, float]:
    """Zeros, of those figures that there are objects for."""
    areas = [each["area"] for each in truth["annotations"] if not each["iscrowd"]]
    bounds = {"s": (0, 32**2), "m": (32**2, 96**2), "l": (96**2, 1e10)}

    def counted(name: str) -> bool:
        low, high = bounds.get(name[-1], (0, 1e10))
        return any(low <= area <= high for area in areas)

    return {name: 0.0 for name in NAMES if counted(name)}


def as_coco(detections: Mapping[str, Tensor], size: tuple[int, int], data: AnnotatedSet, index: int) -> list[Any]:
    """Detections of one image in COCO's form, at the image's own size.

    Args:
        detections: Boxes, scores, labels and perhaps masks, as `Detector` gives them.
        size: (h, w) that the image was fed in.
        data: Its set.
        index: Its number there.
    """
    own = data.images[index]
    scale = torch.tensor([own.width / size[1], own.height / size[0]]).repeat(2)
    boxes = detections["boxes"].cpu().float() * scale
    scores, labels = detections["scores"].cpu().tolist(), detections["labels"].cpu().tolist()
    drawn = detections.get("masks")
    found = []
    for i, (box, value, label) in enumerate(zip(boxes, scores, labels, strict=True)):
        x0, y0, x1, y1 = box.tolist()
        entry: dict[str, Any] = {
            "image_id": own.number,
            "category_id": data.category_ids[label - 1],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "score": value,
        }
        if drawn is not None:
            entry["segmentation"] = masks.encode(pasted(drawn[i].cpu().float(), box, (own.height, own.width)))
        found.append(entry)
    return found


def pasted(mask: Tensor, box: Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A mask (m, m) of probabilities in its box, as a picture (H, W) of 0 and 1."""
    whole = np.zeros(size, np.uint8)
    x0, y0, x1, y1 = box.tolist()
    left, top = max(0, int(np.floor(x0))), max(0, int(np.floor(y0)))
    right, bottom = min(size[1], int(np.ceil(x1))), min(size[0], int(np.ceil(y1)))
    if right <= left or bottom <= top or x1 <= x0 or y1 <= y0:
        return whole
    x = (torch.arange(left, right) + 0.5 - x0) / (x1 - x0) * 2 - 1
    y = (torch.arange(top, bottom) + 0.5 - y0) / (y1 - y0) * 2 - 1
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    cut = grid_sample(mask[None, None], torch.stack((columns, rows), -1)[None], align_corners=False)[0, 0]
    whole[top:bottom, left:right] = (cut >= 0.5).numpy()
    return whole


def _copied(value: Any) -> Any:
    """A copy in which what is counted can be noted, with plain numbers throughout."""
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(inner) for inner in value]
    return value


def _silent(*_: object) -> None:
    pass
