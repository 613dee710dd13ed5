"""Proposals: anchors, their sampling, and the region proposal network (Ren et al., arXiv 1506.01497).

torchvision's, with what detectron2 does otherwise: anchors are not rounded, the loss of boxes is L1, and both losses
are divided by the number of anchors that are sampled at most. A sample depends on the image's key alone, not on how
many images or processes a step has.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from lowzoo.detection.network.shape import DetectorShape

_POSITIVE = 0.5
_SUPPRESSION = 0.7


class Anchors(AnchorGenerator):  # type: ignore[misc]  # torchvision has no types
    """Anchors in float32 at every place of each level, centred on its upper left corner.

    Args:
        shape: Of the detector.
        strides: Of the levels.
    """

    def __init__(self, shape: DetectorShape, strides: Sequence[int]) -> None:
        super().__init__(shape.anchor_sizes, (shape.aspect_ratios,) * len(shape.anchor_sizes))
        self.strides = tuple(strides)

    def generate_anchors(
        self,
        scales: Sequence[float],
        aspect_ratios: Sequence[float],
        dtype: torch.dtype = torch.float32,
        device: torch.device = torch.device("cpu"),
    ) -> Tensor:
        """(A, 4) around 0, all sizes of a ratio after one another as in torchvision, exact."""
        sizes = torch.tensor(scales, dtype=dtype, device=device)
        heights = torch.tensor(aspect_ratios, dtype=dtype, device=device).sqrt()
        wide, tall = ((ratios[:, None] * sizes[None]).flatten() for ratios in (1 / heights, heights))
        return torch.stack((-wide, -tall, wide, tall), 1) / 2

    def on(self, grids: Sequence[tuple[int, int]], device: torch.device) -> list[Tensor]:
        """(h w A, 4) of each level, for maps of these sides."""
        found = []
        for (rows, columns), stride, cell in zip(grids, self.strides, self.cell_anchors, strict=True):
            down, right = (torch.arange(count, device=device) * float(stride) for count in (rows, columns))
            y, x = torch.meshgrid(down, right, indexing="ij")
            corners = torch.stack((x, y, x, y), -1).view(-1, 1, 4)
            found.append((corners + cell.to(device)).reshape(-1, 4))
        return found

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """All anchors (N, 4) of each image."""
        grids = [(each.shape[-2], each.shape[-1]) for each in feature_maps]
        whole = torch.cat(self.on(grids, feature_maps[0].device))
        return [whole] * len(image_list.image_sizes)


class KeyedSampler:
    """Draws positive and negative ones at random: a fixed number of an image, by the image's key.

    Args:
        number: Most of an image.
        positive: Most positive ones, as a fraction of them.
        salt: Tells one sampler's draws from another's.
    """

    def __init__(self, number: int, positive: float, salt: int) -> None:
        self.number, self.positive, self.salt = number, positive, salt
        self.keys: Sequence[int] = ()

    def __call__(self, labels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Labels (N,) of each image, 0 for background and below for neither, to two masks (N,) of each."""
        chosen: tuple[list[Tensor], list[Tensor]] = ([], [])
        for label, key in zip(labels, self.keys, strict=True):
            generator = torch.Generator().manual_seed(2 * key + self.salt)
            positive, negative = torch.where(label >= 1)[0], torch.where(label == 0)[0]
            most = min(len(positive), int(self.number * self.positive))
            for found, count, kept in (
                (positive, most, chosen[0]),
                (negative, min(len(negative), self.number - most), chosen[1]),
            ):
                drawn = torch.randperm(len(found), generator=generator)[:count].to(label.device)
                mask = torch.zeros(len(label), dtype=torch.bool, device=label.device)
                mask[found[drawn]] = True
                kept.append(mask)
        return chosen


class FloatHead(RPNHead):  # type: ignore[misc]
    """Scores and offsets in float32, whatever the layers before compute in."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps to scores (B, A, h, w) and offsets (B, 4 A, h, w) of each level."""
        scores, offsets = super().forward(x)
        return [each.float() for each in scores], [each.float() for each in offsets]


class Proposals(RegionProposalNetwork):  # type: ignore[misc]
    """The region proposal network of a detector.

    Args:
        shape: Of the detector.
        strides: Of the levels.
        width: Channels of the levels.
    """

    def __init__(self, shape: DetectorShape, strides: Sequence[int], width: int) -> None:
        super().__init__(
            Anchors(shape, strides),
            FloatHead(width, shape.anchors),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=shape.anchor_batch,
            positive_fraction=_POSITIVE,
            pre_nms_top_n=dict(zip(("training", "testing"), shape.pre_nms, strict=True)),
            post_nms_top_n=dict(zip(("training", "testing"), shape.post_nms, strict=True)),
            nms_thresh=_SUPPRESSION,
        )
        self.fg_bg_sampler = KeyedSampler(shape.anchor_batch, _POSITIVE, salt=0)

    def compute_loss(
        self,
        objectness: Tensor,
        pred_bbox_deltas: Tensor,
        labels: list[Tensor],
        regression_targets: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the sampled anchors and L1 of the positive ones, by the most that could be sampled."""
        positive, negative = (torch.cat(masks) for masks in self.fg_bg_sampler(labels))
        truth, targets = torch.cat(labels), torch.cat(regression_targets)
        most = len(labels) * self.fg_bg_sampler.number
        sampled = positive | negative
        scores = binary_cross_entropy_with_logits(objectness.flatten()[sampled], truth[sampled], reduction="sum")
        boxes = l1_loss(pred_bbox_deltas[positive], targets[positive], reduction="sum")
        return scores / most, boxes / most
