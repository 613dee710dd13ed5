"""A detector as a graph in which every size is known beforehand: what runtimes of phones can lay out.

Suppression gives a fixed number of boxes, the last ones empty where there are fewer. Regions are read off every level
of the pyramid, empty ones off all but their own, which costs nothing, and added.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from lowzoo.detection.network.detector import Detector
from lowzoo.detection.network.regions import RegionPool

_LEAST_PROPOSAL, _LEAST_BOX = 1e-3, 1e-2


@torch.library.custom_op("lowzoo::keep_best", mutates_args=())
def keep_best(boxes: Tensor, scores: Tensor, overlap: float, least: float, most: int) -> Tensor:
    """Indices (most,) of the boxes (N, 4) that suppression leaves, best first; -1 where there are no more.

    Args:
        boxes: (N, 4) corners.
        scores: (N,).
        overlap: Of two boxes that overlap by more, the better one stays.
        least: Boxes of this score or less are left out.
        most: How many stay at most.
    """
    found = torch.where(scores > least)[0]
    kept = found[nms(boxes[found], scores[found], overlap)][:most]
    empty = kept.new_full((most - len(kept),), -1)
    return torch.cat((kept, empty))


@keep_best.register_fake
def _(boxes: Tensor, scores: Tensor, overlap: float, least: float, most: int) -> Tensor:
    return boxes.new_empty((most,), dtype=torch.int64)


class DetectorGraph(nn.Module):
    """One picture of a fixed size to a fixed number of detections.

    Args:
        detector: In eval mode.
        size: (height, width) of the picture in pixels, multiples of `detector.shape.divisor`.
        mean: Mean of the normalisation, in [0, 1].
        std: Standard deviation of the normalisation, in [0, 1].
        suppressed: Whether the last suppression is in the graph; without it, all boxes and scores come out.
    """

    scale: Tensor
    offset: Tensor

    def __init__(
        self,
        detector: Detector,
        size: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        *,
        suppressed: bool = True,
    ) -> None:
        super().__init__()
        self.detector, self.size, self.suppressed = detector, size, suppressed
        self.register_buffer("scale", 1 / (255 * torch.tensor(list(std))).view(1, -1, 1, 1))
        self.register_buffer("offset", -(torch.tensor(list(mean)) / torch.tensor(list(std))).view(1, -1, 1, 1))
        with torch.no_grad():
            levels = detector.pyramid(torch.zeros(1, 3, *size))
        grids = [(each.shape[-2], each.shape[-1]) for each in levels.values()]
        for number, anchors in enumerate(detector.rpn.anchor_generator.on(grids, torch.device("cpu"))):
            self.register_buffer(f"anchors{number}", anchors)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Pixels (1, H, W, 3) in 0 to 255 to what `output_names` lists."""
        planes = image.permute(0, 3, 1, 2).float() * self.scale + self.offset
        levels = self.detector.pyramid(planes)
        proposals, there = self._proposals(levels)
        heads: Any = self.detector.heads
        features = heads.box_head(self._regions(levels, proposals, heads.box_roi_pool))
        if features.ndim == 4:
            features = features.mean((2, 3))
        scores, offsets = heads.box_predictor(features)
        classes = scores.shape[1] - 1
        boxes = _decoded(offsets.view(-1, classes + 1, 4)[:, 1:], proposals[:, None], heads.box_coder)
        boxes = self._clipped(boxes)
        values = scores.softmax(1)[:, 1:] * there[:, None]
        values = torch.where(_sides(boxes).amin(-1) >= _LEAST_BOX, values, torch.zeros_like(values))
        if not self.suppressed:
            return boxes, values
        flat, flat_values = boxes.reshape(-1, 4), values.reshape(-1)
        labels = torch.arange(classes, device=boxes.device).repeat(boxes.shape[0])
        apart = flat + (labels * float(2 * max(self.size)))[:, None]
        chosen = keep_best(apart, flat_values, heads.nms_thresh, heads.score_thresh, heads.detections_per_img)
        kept, where = chosen >= 0, chosen.clamp(min=0)
        found = flat[where] * kept[:, None]
        value = flat_values[where] * kept
        label = torch.where(kept, labels[where], torch.full_like(where, -1))
        if heads.mask_head is None:
            return found, value, label
        pool = heads.mask_roi_pool
        regions = self._regions(levels, found, pool or heads.box_roi_pool)
        logits = heads.mask_head(regions if pool is not None else heads.box_head(regions))
        index = label.clamp(min=0).view(-1, 1, 1, 1).expand(-1, 1, *logits.shape[2:])
        return found, value, label, logits.gather(1, index)[:, 0].sigmoid()

    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in their order."""
        if not self.suppressed:
            return ("boxes", "scores")
        return ("boxes", "scores", "classes", *(("masks",) if self.detector.masks else ()))

    def _proposals(self, levels: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Proposals (P, 4), and 1 where there is one (P,)."""
        rpn: Any = self.detector.rpn
        scores, offsets = rpn.head(list(levels.values()))
        boxes, values, numbers = [], [], []
        for number, (score, offset) in enumerate(zip(scores, offsets, strict=True)):
            anchors = getattr(self, f"anchors{number}")
            value = score.permute(0, 2, 3, 1).reshape(-1)
            count = score.shape[1]
            codes = offset.view(1, count, 4, *offset.shape[2:]).permute(0, 3, 4, 1, 2).reshape(-1, 4)
            value, best = value.topk(min(rpn._pre_nms_top_n["testing"], value.shape[0]))
            boxes.append(_decoded(codes[best], anchors[best], rpn.box_coder))
            values.append(value.sigmoid())
            numbers.append(torch.full_like(value, float(number)))
        box, value, level = torch.cat(boxes), torch.cat(values), torch.cat(numbers)
        box = self._clipped(box)
        value = torch.where(_sides(box).amin(-1) >= _LEAST_PROPOSAL, value, torch.zeros_like(value))
        apart = box + (level * float(2 * max(self.size)))[:, None]
        chosen = keep_best(apart, value, rpn.nms_thresh, 0.0, rpn._post_nms_top_n["testing"])
        there = (chosen >= 0).to(box.dtype)
        return box[chosen.clamp(min=0)] * there[:, None], there

    def _regions(self, levels: dict[str, Tensor], boxes: Tensor, pool: RegionPool) -> Tensor:
        first = torch.zeros_like(boxes[:, :1])
        if len(pool.levels) == 1:
            (name,) = pool.levels
            return pool.read(levels[name], torch.cat((first, boxes), 1), name)
        chosen = pool.choose(boxes)
        found = [
            pool.read(levels[name], torch.cat((first, boxes * (chosen == number)[:, None]), 1), name)
            * (chosen == number)[:, None, None, None]
            for number, name in enumerate(pool.levels)
        ]
        return torch.stack(found).sum(0)

    def _clipped(self, boxes: Tensor) -> Tensor:
        height, width = self.size
        return torch.stack(
            (
                boxes[..., 0].clamp(0, width),
                boxes[..., 1].clamp(0, height),
                boxes[..., 2].clamp(0, width),
                boxes[..., 3].clamp(0, height),
            ),
            -1,
        )


def _sides(boxes: Tensor) -> Tensor:
    return boxes[..., 2:] - boxes[..., :2]


def _decoded(codes: Tensor, boxes: Tensor, coder: Any) -> Tensor:
    """Boxes (..., 4) moved and scaled by offsets, as torchvision's coder does it, without its reshapes."""
    x_weight, y_weight, w_weight, h_weight = coder.weights
    sides = _sides(boxes)
    centres = boxes[..., :2] + 0.5 * sides
    moved_x = codes[..., 0] / x_weight * sides[..., 0] + centres[..., 0]
    moved_y = codes[..., 1] / y_weight * sides[..., 1] + centres[..., 1]
    wide = (codes[..., 2] / w_weight).clamp(max=coder.bbox_xform_clip).exp() * sides[..., 0] * 0.5
    tall = (codes[..., 3] / h_weight).clamp(max=coder.bbox_xform_clip).exp() * sides[..., 1] * 0.5
    return torch.stack((moved_x - wide, moved_y - tall, moved_x + wide, moved_y + tall), -1)
