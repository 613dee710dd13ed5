"""The worker's part of a view: crop, antialiased resize, flip; uint8 in, uint8 out.

The resize is torch's for uint8, which computes PIL's filter (triangle or cubic, widened where the image shrinks) in
PIL's fixed-point arithmetic: crops differ from PIL's by rounding alone. Measured on one core with a 300 x 300 box to
224 px it takes 0.19 ms; OpenCV's area average, its only antialiased filter, takes 0.63 ms and stays 1/255 away.

Photographs of many megapixels are mostly thrown away by the resize. They may be decoded to a half or less as long as
every crop that is drawn keeps twice the pixels of its view along each side: see `largest_divisor`.
"""

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


def largest_divisor(boxes_V4: NDArray[np.int64], groups: Sequence[ViewGroup]) -> int:
    """By what an image may be divided before these views are cut from it: 1, 2, 4 or 8.

    Args:
        boxes_V4: Top, left, height and width of each view in pixels of the image as it is stored.
        groups: Groups of the views.
    """
    sizes = np.repeat([group.size for group in groups], [group.count for group in groups])
    # Pixels of the image for one of the view, along the shorter side of the crop that has the fewest.
    density = (boxes_V4[:, 2:].min(1) / sizes).min()
    return next((by for by in (8, 4, 2) if density >= _MARGIN * by), 1)


def crop_views(
    image_HWC: NDArray[np.uint8],
    params: ViewParams,
    groups: Sequence[ViewGroup],
    divisor: int = 1,
) -> list[NDArray[np.uint8]]:
    """Cut all views out of one decoded image.

    Planes, not interleaved pixels, come out: torch resizes into them, and a GPU works on planes.

    Args:
        image_HWC: (h, w, 3) RGB, uint8.
        params: Drawn for these groups and the size of the image as it is stored.
        groups: The groups of views.
        divisor: By what that size was divided when the image was decoded.

    Returns:
        One array (count, 3, size, size) a group, uint8.
    """
    out = [torch.empty(group.count, 3, group.size, group.size, dtype=torch.uint8) for group in groups]
    crop_into(out, image_HWC, params, groups, divisor)
    return [views.numpy() for views in out]


def crop_into(
    out: Sequence[Tensor],
    image_HWC: NDArray[np.uint8],
    params: ViewParams,
    groups: Sequence[ViewGroup],
    divisor: int = 1,
) -> None:
    """Cut all views out of one decoded image, into memory that is there already; see `crop_views`.

    Args:
        out: One uint8 tensor (count, 3, size, size) a group.
        image_HWC: (h, w, 3) RGB, uint8.
        params: Drawn for these groups and the size of the image as it is stored.
        groups: The groups of views.
        divisor: By what that size was divided when the image was decoded.
    """
    boxes_V4 = params.boxes if divisor == 1 else _divided(params.boxes, divisor)
    image = torch.from_numpy(image_HWC).permute(2, 0, 1).unsqueeze(0)
    # Plain numbers: an index into an array costs ten times as much, and there are fifty of them an image.
    boxes = iter(zip(boxes_V4.tolist(), params.flips.tolist(), strict=True))
    for views, group in zip(out, groups, strict=True):
        for view in views:
            (top, left, height, width), flip = next(boxes)
            box = image[:, :, top : top + height, left : left + width]
            crop = interpolate(box, (group.size, group.size), mode=group.interpolation, antialias=True)[0]
            view.copy_(crop.flip(-1) if flip else crop)


def _divided(boxes_V4: NDArray[np.int64], divisor: int) -> NDArray[np.int64]:
    """Boxes in an image as boxes, of at least one pixel, in the same image of a fraction of its size."""
    start, end = boxes_V4[:, :2] // divisor, (boxes_V4[:, :2] + boxes_V4[:, 2:]) / divisor
    return np.concatenate([start, np.maximum(np.rint(end).astype(np.int64) - start, 1)], axis=1)
