"""The heads of each region: class and box, and a mask of the class.

torchvision's `RoIHeads` matches, samples and decodes. Layers and losses are detectron2's: no box and no mask for the
background, L1, and means over all regions of the step, whichever process has them.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, l1_loss, relu
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import roi_align

from lowzoo.detection.network.proposals import KeyedSampler
from lowzoo.detection.network.regions import RegionPool
from lowzoo.detection.network.shape import DetectorShape

_BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
_SUPPRESSION = 0.5
_POSITIVE = 0.25

Target = dict[str, Tensor]


class TwoLayers(nn.Module):
    """Two linear layers on each region.

    Args:
        width: C * side * side.
        hidden: See `DetectorShape`.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, hidden)
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)

    def forward(self, regions: Tensor) -> Tensor:
        """(R, C, side, side) to (R, hidden)."""
        return relu(self.fc2(relu(self.fc1(regions.flatten(1)))))


class StageOnRegions(nn.Module):
    """The last stage of a ResNet on each region, with a norm behind it where the preset has one.

    Args:
        stage: The stage.
        width: Channels of its output.
        extra_norm: See `DetectorShape`.
    """

    def __init__(self, stage: nn.Module, width: int, *, extra_norm: bool) -> None:
        super().__init__()
        self.stage = stage
        self.norm = nn.BatchNorm2d(width) if extra_norm else nn.Identity()

    def forward(self, regions: Tensor) -> Tensor:
        """(R, C, 14, 14) to (R, C', 7, 7)."""
        found: Tensor = self.norm(self.stage(regions))
        return found


class Predictor(nn.Module):
    """Scores of the classes and the background, which comes first, and a box for each class but that.

    Args:
        width: Of a region's features.
        classes: K, without the background.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.cls_score, self.bbox_pred = nn.Linear(width, classes + 1), nn.Linear(width, 4 * classes)
        for layer, spread in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=spread)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(R, D) to scores (R, 1 + K) and offsets (R, 4 + 4 K), those of the background 0."""
        scores, boxes = self.cls_score(features).float(), self.bbox_pred(features).float()
        return scores, torch.cat((boxes.new_zeros(len(boxes), 4), boxes), 1)


class MaskHead(nn.Module):
    """Convolutions, one that doubles the side, and a mask for each class.

    Args:
        width: Channels of a region.
        classes: K, without the background.
        shape: Of the detector.
    """

    def __init__(self, width: int, classes: int, shape: DetectorShape) -> None:
        super().__init__()
        widths = [width, *[shape.mask_channels] * shape.mask_convs]
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in pairwise(widths))
        self.deconv = nn.ConvTranspose2d(widths[-1], shape.mask_channels, 2, 2)
        self.predictor = nn.Conv2d(shape.mask_channels, classes, 1)
        layers: list[Any] = [*self.convs, self.deconv, self.predictor]
        for layer in layers[:-1]:
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.predictor.weight, std=0.001)
        for layer in layers:
            nn.init.zeros_(layer.bias)

    def forward(self, regions: Tensor) -> Tensor:
        """(R, C, side, side) to logits (R, K, 2 side, 2 side)."""
        for conv in self.convs:
            regions = relu(conv(regions))
        logits: Tensor = self.predictor(relu(self.deconv(regions))).float()
        return logits


class Heads(RoIHeads):  # type: ignore[misc]  # torchvision has no types
    """From maps and proposals to losses, or to detections.

    Args:
        shape: Of the detector.
        pool: Reads regions for the box head.
        box_head: Regions to features (R, D), or to maps that their mean makes features of ("c4").
        width: D.
        classes: K, without the background.
        mask_pool: Reads regions for the mask head; None where it takes the maps of `box_head`.
        mask_head: None for a detector without masks.
        mean: Gives the mean of a number over all processes, so that a loss is that of the whole step.
    """

    def __init__(
        self,
        shape: DetectorShape,
        pool: RegionPool,
        box_head: nn.Module,
        width: int,
        classes: int,
        mask_pool: RegionPool | None = None,
        mask_head: nn.Module | None = None,
        mean: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> None:
        super().__init__(
            pool,
            box_head,
            Predictor(width, classes),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=shape.region_batch,
            positive_fraction=_POSITIVE,
            bbox_reg_weights=_BOX_WEIGHTS,
            score_thresh=shape.score_threshold,
            nms_thresh=_SUPPRESSION,
            detections_per_img=shape.detections,
        )
        self.fg_bg_sampler = KeyedSampler(shape.region_batch, _POSITIVE, salt=1)
        self.mask_roi_pool, self.mask_head, self.mean = mask_pool, mask_head, mean

    def has_mask(self) -> bool:
        """Whether it gives masks."""
        return self.mask_head is not None

    def forward(
        self,
        features: Mapping[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[Target] | None = None,
    ) -> tuple[list[Target], dict[str, Tensor]]:
        """Maps by level and proposals (P, 4) of each image to detections (in testing) or losses (in training)."""
        if self.training:
            return [], self._losses(features, proposals, targets or [])
        maps = self.box_head(self.box_roi_pool(features, proposals))
        scores, offsets = self.box_predictor(_means(maps))
        found = zip(*self.postprocess_detections(scores, offsets, proposals, image_shapes), strict=True)
        detections = [{"boxes": boxes, "scores": score, "labels": label} for boxes, score, label in found]
        if self.mask_head is not None:
            logits = self.mask_head(self._mask_regions(features, [each["boxes"] for each in detections]))
            labels = torch.cat([each["labels"] for each in detections])
            masks = logits[torch.arange(len(labels), device=labels.device), labels - 1].sigmoid()
            for each, mask in zip(detections, masks.split([len(d["labels"]) for d in detections]), strict=True):
                each["masks"] = mask
        return detections, {}

    def _mask_regions(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        if self.mask_roi_pool is not None:
            regions: Tensor = self.mask_roi_pool(features, boxes)
            return regions
        found: Tensor = self.box_head(self.box_roi_pool(features, boxes))
        return found

    def _losses(
        self, features: Mapping[str, Tensor], proposals: list[Tensor], targets: list[Target]
    ) -> dict[str, Tensor]:
        taken, matched, labels, wanted = self.select_training_samples(list(proposals), targets)
        maps = self.box_head(self.box_roi_pool(features, taken))
        scores, offsets = self.box_predictor(_means(maps))
        truth = torch.cat(labels)
        number = self.mean(truth.new_tensor(len(truth), dtype=torch.float32))
        positive = torch.where(truth > 0)[0]
        own = offsets.view(len(truth), -1, 4)[positive, truth[positive]]
        losses = {
            "loss_classifier": cross_entropy(scores, truth, reduction="sum") / number,
            "loss_box_reg": l1_loss(own, torch.cat(list(wanted))[positive], reduction="sum") / number,
        }
        if self.mask_head is not None:
            kept = [torch.where(label > 0)[0] for label in labels]
            boxes = [box[keep] for box, keep in zip(taken, kept, strict=True)]
            regions = maps[positive] if self.mask_roi_pool is None else self.mask_roi_pool(features, boxes)
            logits = self.mask_head(regions)
            chosen = logits[torch.arange(len(positive), device=truth.device), truth[positive] - 1]
            drawn = torch.cat(
                [
                    _cut(target["masks"], box, match[keep], logits.shape[-1])
                    for target, box, match, keep in zip(targets, boxes, matched, kept, strict=True)
                ]
            )
            pixels = self.mean(chosen.new_tensor(chosen.numel(), dtype=torch.float32)).clamp(min=1)
            losses["loss_mask"] = binary_cross_entropy_with_logits(chosen, drawn, reduction="sum") / pixels
        return losses


def _means(maps: Tensor) -> Tensor:
    """Features (R, D) as they are; of maps their means."""
    return maps if maps.ndim == 2 else maps.mean((2, 3))


def _cut(masks: Tensor, boxes: Tensor, matched: Tensor, side: int) -> Tensor:
    """The masks (M, H, W) of the objects that boxes (R, 4) belong to, in their boxes: (R, side, side) of 0 and 1."""
    if not len(boxes):
        return boxes.new_zeros((0, side, side))
    regions = torch.cat((matched[:, None].to(boxes), boxes), 1)
    found: Any = roi_align(masks[:, None].to(boxes), regions, side, 1.0, sampling_ratio=0, aligned=True)
    cut: Tensor = (found[:, 0] >= 0.5).float()
    return cut
