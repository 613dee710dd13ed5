"""Reading regions off maps: which level a region is read off, aligned to half a pixel, sampled as finely as needed."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

# The level of stride 16, p4, is where a region of the canonical size is read.
_CANONICAL_LEVEL = 4


class RegionPool(nn.Module):
    """Regions (R, C, side, side) off the levels of a pyramid (Lin et al., equation 1).

    Unlike torchvision's, the sampling is aligned by half a pixel and adaptive, as detectron2's ROIAlignV2.

    Args:
        levels: Names of the levels and their strides, the finest first.
        side: Of what is read.
        canonical_size: See `DetectorShape`.
    """

    def __init__(self, levels: Mapping[str, int], side: int, canonical_size: int) -> None:
        super().__init__()
        self.levels, self.side, self.canonical_size = dict(levels), side, canonical_size

    def forward(self, maps: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Maps (B, C, h, w) by level and boxes (R_i, 4) of each image to all regions, image after image."""
        numbers = torch.cat([box.new_full((len(box), 1), i) for i, box in enumerate(boxes)])
        regions = torch.cat((numbers, torch.cat(list(boxes))), 1)
        names = list(self.levels)
        if len(names) == 1:
            return self.read(maps[names[0]], regions, names[0])
        chosen = self.choose(regions[:, 1:])
        first = maps[names[0]]
        found = first.new_zeros((len(regions), first.shape[1], self.side, self.side))
        for number, name in enumerate(names):
            where = torch.where(chosen == number)[0]
            # Levels without a region stay in the graph, so that every layer has a gradient.
            found = found.index_put((where,), self.read(maps[name], regions[where], name))
        return found

    def read(self, level: Tensor, regions: Tensor, name: str) -> Tensor:
        """Regions (R, 5), the image's number first, off one level."""
        read: Tensor = roi_align(level, regions, self.side, 1 / self.levels[name], sampling_ratio=0, aligned=True)
        return read

    def choose(self, boxes: Tensor) -> Tensor:
        """(R,) the number of the level of each box (R, 4)."""
        strides = list(self.levels.values())
        low, high = (stride.bit_length() - 1 for stride in (strides[0], strides[-1]))
        sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp(min=0).sqrt()
        exact = _CANONICAL_LEVEL + torch.log2(sides / self.canonical_size + 1e-8)
        return exact.floor().clamp(low, high).long() - low
