"""The worker's part of a view: crop, antialiased resize, flip; uint8 in, uint8 out.

The resize is torch's for uint8, which computes PIL's filter (triangle or cubic, widened where the image shrinks) in
PIL's fixed-point arithmetic: crops differ from PIL's by rounding alone. Measured on one core with a 300 x 300 box to
224 px it takes 0.19 ms; OpenCV's area average, its only antialiased filter, takes 0.63 ms and stays 1/255 away.

Photographs of many megapixels are mostly thrown away by the resize. They may be decoded to a half or less as long as
the smallest crop that can be drawn keeps twice the pixels of its view along each side: see `largest_divisor`.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from lowzoo.train.views.params import ViewParams
from lowzoo.train.views.spec import ViewGroup

# A crop of the reduced picture has at least so many pixels for each of the view's, along either side.
_MARGIN = 2


def largest_divisor(groups: Sequence[ViewGroup], height: int, width: int) -> int:
    """By what an image of (height, width) pixels may be divided before crops are cut from it: 1, 2, 4 or 8."""
    least = min(
        math.sqrt(group.scale[0] * height * width * min(group.ratio[0], 1 / group.ratio[1])) / group.size
        for group in groups
    )
    return next((by for by in (8, 4, 2) if least >= _MARGIN * by), 1)


def crop_views(
    image_HWC: NDArray[np.uint8],
    params: ViewParams,
    groups: Sequence[ViewGroup],
    size: tuple[int, int] | None = None,
) -> list[NDArray[np.uint8]]:
    """Cut all views out of one decoded image.

    Planes, not interleaved pixels, come out: the photometric operations work on planes, and torch resizes into them.

    Args:
        image_HWC: (h, w, 3) RGB, uint8.
        params: Drawn for an image of (H, W) pixels and for these groups.
        groups: The groups of views.
        size: (H, W), where the image has been made smaller since.

    Returns:
        One array (count, 3, size, size) a group, uint8.
    """
    out = [torch.empty(group.count, 3, group.size, group.size, dtype=torch.uint8) for group in groups]
    crop_into(out, image_HWC, params, groups, size)
    return [views.numpy() for views in out]


def crop_into(
    out: Sequence[Tensor],
    image_HWC: NDArray[np.uint8],
    params: ViewParams,
    groups: Sequence[ViewGroup],
    size: tuple[int, int] | None = None,
) -> None:
    """Cut all views out of one decoded image, into memory that is there already; see `crop_views`.

    Args:
        out: One uint8 tensor (count, 3, size, size) a group.
        image_HWC: See `crop_views`, as for the others.
        params: Of the views.
        groups: The groups of views.
        size: (H, W), where the image has been made smaller since.
    """
    boxes_V4 = params.boxes if size is None else _scaled(params.boxes, size, image_HWC.shape)
    image = torch.from_numpy(image_HWC).permute(2, 0, 1).unsqueeze(0)
    # Plain numbers: an index into an array costs ten times as much, and there are fifty of them an image.
    boxes = iter(zip(boxes_V4.tolist(), params.flips.tolist(), strict=True))
    for views, group in zip(out, groups, strict=True):
        for view in views:
            (top, left, height, width), flip = next(boxes)
            box = image[:, :, top : top + height, left : left + width]
            crop = interpolate(box, (group.size, group.size), mode=group.interpolation, antialias=True)[0]
            view.copy_(crop.flip(-1) if flip else crop)


def _scaled(boxes_V4: NDArray[np.int64], size: tuple[int, int], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Boxes in an image of `size` as boxes, of at least one pixel, in the same image of another shape."""
    factor = np.array([shape[0] / size[0], shape[1] / size[1]])
    start = np.rint(boxes_V4[:, :2] * factor).astype(np.int64)
    end = np.rint((boxes_V4[:, :2] + boxes_V4[:, 2:]) * factor).astype(np.int64)
    return np.concatenate([start, np.maximum(end - start, 1)], axis=1)
