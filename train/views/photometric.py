"""The device's part of a view: colour jitter, grey, blur, solarise, normalise; batched, with parameters per image.

PIL rounds to uint8 after each operation, this does not; whole chains agree within 2/255 on average. An image's result
does not depend on the batch it is in.

The jitter applies brightness, contrast, saturation and hue in an order drawn for each image. The first three are one
operation with different weights, so images differ in kind only by the place of the hue among the four: the batch is
sorted into five kinds (four places, or no jitter), and each chunk runs one sequence of whole-chunk operations.
Everything that decides what runs is read from parameters on the processor, so an accelerator is never waited for.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby, permutations

import torch
from torch import Tensor

from lowzoo.train.views import operations
from lowzoo.train.views.params import BRIGHTNESS, CONTRAST, GRAY, HUE, ORDER, SATURATION, SIGMA, SOLARISE
from lowzoo.train.views.spec import IMAGENET_MEAN, IMAGENET_STD

_ORDERS = torch.tensor(list(permutations((BRIGHTNESS, CONTRAST, SATURATION, HUE))))
_NEUTRAL = torch.tensor([1.0, 1.0, 1.0, 0.0])
_NO_JITTER = 4
_MAX_LEVELS = 16
# Values in a chunk. A processor reads and writes a chunk some fifty times, so it should stay in the cache, yet hold
# enough to outweigh the calls: of 0.1 to 1.8 MB the last was fastest (1 MB of second-level cache). On an accelerator
# the temporaries, some ten times the chunk, bound it (8 GB).
_CHUNK_CPU = 442_368
_CHUNK_ACCELERATOR = 200_000_000


def photometric(
    views_N3HW: Tensor,
    params_NP: Tensor,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Tensor:
    """Finish N views of one size.

    Args:
        views_N3HW: uint8 RGB planes on the device.
        params_NP: Photometric parameters (N, 8), float32, on the processor; see `ViewParams`.
        mean: Of the normalisation, of values in [0, 1].
        std: Of the normalisation, of values in [0, 1].

    Returns:
        (N, 3, H, W) float32, normalised, on the device of the views.
    """
    device = views_N3HW.device
    out = torch.empty(views_N3HW.shape, device=device)
    scale = torch.tensor([1 / (255 * s) for s in std]).view(3, 1, 1).to(device, non_blocking=True)
    offset = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]).view(3, 1, 1).to(device, non_blocking=True)
    values = _CHUNK_CPU if device.type == "cpu" else _CHUNK_ACCELERATOR
    limit = max(1, values // max(1, views_N3HW[:1].numel()))
    for rows, hue_place in _chunks(params_NP, limit):
        index = rows.to(device, non_blocking=True)
        views = views_N3HW.index_select(0, index).float()
        _augment(views, params_NP[rows], hue_place)
        views.mul_(scale).add_(offset)
        if device.type == "cpu":
            # index_copy_ walks this layout element by element, ten times slower than copying image by image.
            for row, view in zip(rows.tolist(), views, strict=True):
                out[row] = view
        else:
            out.index_copy_(0, index, views)
    return out


def _chunks(params: Tensor, limit: int) -> Iterator[tuple[Tensor, int]]:
    """Rows of at most `limit` images of one kind, and the place of their hue.

    Within a kind the images to blur (equally far), to grey and to solarise stand side by side, so that each of these
    operations works in place on a few slices of the chunk.
    """
    orders = params[:, ORDER].long()
    jittered = (params[:, : len(_NEUTRAL)] != _NEUTRAL).any(1)
    key = torch.where(jittered, (_ORDERS[orders] == HUE).long().argmax(1), _NO_JITTER)
    sizes = torch.bincount(key, minlength=_NO_JITTER + 1).tolist()
    key = (key * _MAX_LEVELS + operations.box_level(params[:, SIGMA])) * 4
    key += (params[:, GRAY] > 0) * 2 + (params[:, SOLARISE] > 0)
    rank = torch.argsort(key * len(_ORDERS) + orders, stable=True)
    for kind, rows_of_kind in enumerate(torch.split(rank, sizes)):
        yield from ((rows, kind) for rows in torch.split(rows_of_kind, limit) if len(rows))


def _augment(views: Tensor, params: Tensor, hue_place: int) -> None:
    """Apply everything but the normalisation, in place, to values in [0, 255] of images of one kind."""
    if hue_place != _NO_JITTER:
        orders = _ORDERS[params[:, ORDER].long()]
        for place in range(4):
            if place == hue_place:
                operations.turn_hue(views, params[:, HUE].to(views.device, non_blocking=True))
            else:
                _blend(views, params, orders[:, place])
    for here in _runs(params[:, GRAY]):
        operations.gray(views[here])
    for here in _runs(operations.box_level(params[:, SIGMA])):
        operations.blur(views[here], params[here, SIGMA])
    for here in _runs(params[:, SOLARISE]):
        operations.solarise(views[here])


def _blend(views: Tensor, params: Tensor, operation: Tensor) -> None:
    """Apply one of brightness, contrast and saturation to each image."""
    factor = params.gather(1, operation.unsqueeze(1))[:, 0]
    if (operation == BRIGHTNESS).all():
        operations.brighten(views, factor.to(views.device, non_blocking=True))
        return
    to_mean, to_luma = (1 - factor) * (operation == CONTRAST), (1 - factor) * (operation == SATURATION)
    operations.blend(views, *torch.stack((factor, to_mean, to_luma)).to(views.device, non_blocking=True))


def _runs(values: Tensor) -> Iterator[slice]:
    """The slices of `values` (on the processor) that hold one value each, other than zero."""
    start = 0
    for value, group in groupby(values.tolist()):
        stop = start + len(list(group))
        if value:
            yield slice(start, stop)
        start = stop
