"""The device's part of a view: colour jitter, grey, blur, solarise, normalise; batched, with parameters per image.

The operations are torchvision's (and PIL's) on values in [0, 1]: the jitter applies brightness, contrast, saturation
and hue in a random order drawn for each image. PIL rounds to uint8 after each operation, this does not; whole chains
agree within 2/255 on average. An image's result does not depend on the batch it is in.

On a processor the work is done in chunks that stay in its cache; there an image is read and written dozens of times.
"""

from collections.abc import Callable, Sequence
from itertools import permutations

import torch
from torch import Tensor

from lowzoo.train.views.params import BRIGHTNESS, CONTRAST, GRAY, HUE, ORDER, SATURATION, SIGMA, SOLARISE
from lowzoo.train.views.spec import IMAGENET_MEAN, IMAGENET_STD

_ORDERS = torch.tensor(list(permutations(range(4))))
_LUMA = (0.299, 0.587, 0.114)
# Values that a chunk may hold on a processor: 1 MB of fp32.
_CACHE_VALUES = 262_144


def photometric(
    views_NHWC: Tensor,
    params_NP: Tensor,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Tensor:
    """Finish N views.

    Args:
        views_NHWC: uint8 RGB on the device.
        params_NP: Photometric parameters (N, 8) on the processor; see `ViewParams`.
        mean: Of the normalisation.
        std: Of the normalisation.

    Returns:
        (N, 3, H, W) float32, normalised, on the device of the views.
    """
    device = views_NHWC.device
    count, height, width, _ = views_NHWC.shape
    out = torch.empty(count, 3, height, width, device=device)
    chunk = max(1, _CACHE_VALUES // (3 * height * width)) if device.type == "cpu" else count
    offset = torch.tensor(mean, device=device).view(1, 3, 1, 1)
    scale = 1 / torch.tensor(std, device=device).view(1, 3, 1, 1)
    for start in range(0, count, chunk):
        here = slice(start, start + chunk)
        views = out[here]
        torch.mul(views_NHWC[here].permute(0, 3, 1, 2), 1 / 255, out=views)
        _augment(views, params_NP[here])
        views.sub_(offset).mul_(scale)
    return out


def _augment(views: Tensor, params: Tensor) -> None:
    """Apply everything but the normalisation, in place."""
    orders = _ORDERS[params[:, ORDER].long()]
    for slot in range(4):
        for column, operation in _JITTER.items():
            neutral = 0.0 if column == HUE else 1.0
            _apply(operation, views, params[:, column], (orders[:, slot] == column) & (params[:, column] != neutral))
    _apply(_gray, views, params[:, GRAY], params[:, GRAY] > 0)
    _apply(_blur, views, params[:, SIGMA], params[:, SIGMA] > 0)
    _apply(_solarise, views, params[:, SOLARISE], params[:, SOLARISE] > 0)


def _apply(operation: Callable[[Tensor, Tensor], Tensor], views: Tensor, values: Tensor, chosen: Tensor) -> None:
    """Replace the chosen views by the operation's result; which ones are chosen is known on the processor."""
    rows = chosen.nonzero()[:, 0]
    if not len(rows):
        return
    # Copies without waiting: the parameters are tiny and a synchronisation is not.
    value = values[rows].to(views.device, non_blocking=True).view(-1, 1, 1, 1)
    if len(rows) == len(views):
        views.copy_(operation(views, value))
        return
    index = rows.to(views.device, non_blocking=True)
    views.index_copy_(0, index, operation(views.index_select(0, index), value))


def _luma(views: Tensor) -> Tensor:
    red, green, blue = views.unbind(1)
    return (red * _LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2]).unsqueeze_(1)


def _brightness(views: Tensor, factor: Tensor) -> Tensor:
    return (views * factor).clamp_(0, 1)


def _contrast(views: Tensor, factor: Tensor) -> Tensor:
    centre = _luma(views).mean((2, 3), keepdim=True)
    return (views * factor).add_(centre * (1 - factor)).clamp_(0, 1)


def _saturation(views: Tensor, factor: Tensor) -> Tensor:
    return (views * factor).add_(_luma(views).mul_(1 - factor)).clamp_(0, 1)


def _hue(views: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue in HSV by `shift` turns; value and saturation stay."""
    red, green, blue = views.unbind(1)
    high, low = views.amax(1), views.amin(1)
    chroma = high - low
    inverse = chroma.clamp_min(1e-8).reciprocal_()
    # Sixths of a turn, by which channel is the largest; a grey pixel has none and keeps its value below.
    sixths = torch.where(
        red == high,
        (green - blue) * inverse,
        torch.where(green == high, (blue - red) * inverse + 2, (red - green) * inverse + 4),
    )
    sixths += shift.view(-1, 1, 1) * 6
    out = torch.empty_like(views)
    for channel, corner in enumerate((5.0, 3.0, 1.0)):
        # Distance of the hue to the arc where this channel is low: value - chroma * clamp(min(k, 4 - k), 0, 1).
        k = (sixths + corner).remainder_(6)
        torch.sub(high, torch.minimum(k, 4 - k).clamp_(0, 1).mul_(chroma), out=out[:, channel])
    return out


def _gray(views: Tensor, _: Tensor) -> Tensor:
    return _luma(views).expand_as(views)


def _blur(views: Tensor, sigma: Tensor) -> Tensor:
    """Separable Gaussian, cut at three sigma of the widest one, edges mirrored."""
    size = min(views.shape[2:])
    radius = min(6, size - 1)
    reach = torch.arange(radius + 1, device=views.device)
    weights = torch.exp(-0.5 * (reach / sigma.view(-1, 1)) ** 2)
    weights = weights / (2 * weights.sum(1, keepdim=True) - weights[:, :1])
    for axis in (2, 3):
        views = _blur_axis(views, weights, radius, axis)
    return views


def _blur_axis(views: Tensor, weights: Tensor, radius: int, axis: int) -> Tensor:
    pad = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
    padded = torch.nn.functional.pad(views, pad, mode="reflect")
    length = views.shape[axis]
    out = padded.narrow(axis, radius, length) * weights[:, 0].view(-1, 1, 1, 1)
    for step in range(1, radius + 1):
        both = padded.narrow(axis, radius - step, length) + padded.narrow(axis, radius + step, length)
        out.addcmul_(both, weights[:, step].view(-1, 1, 1, 1))
    return out


def _solarise(views: Tensor, _: Tensor) -> Tensor:
    return torch.where(views >= 128 / 255, 1 - views, views)


_JITTER = {BRIGHTNESS: _brightness, CONTRAST: _contrast, SATURATION: _saturation, HUE: _hue}
