"""The photometric operations on a GPU: whole batches, planes, sorted so that few kinds of work remain.

The jitter applies brightness, contrast, saturation and hue in an order drawn for each image. The first three are one
operation with different weights, so images differ in kind only by the place of the hue among the four: the batch is
sorted into five kinds (four places, or no jitter), and each chunk runs one sequence of whole-chunk operations.
Everything that decides what runs is read from parameters on the CPU, so a GPU is never waited for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self

import torch
from torch import Tensor

from lowzoo.train.views import operations
from lowzoo.train.views.params import BRIGHTNESS, CONTRAST, GRAY, HUE, JITTER_ORDERS, ORDER, SATURATION, SIGMA, SOLARISE

_ORDERS = torch.tensor(JITTER_ORDERS)
_NEUTRAL = torch.tensor([1.0, 1.0, 1.0, 0.0])
_NO_JITTER = 4
# Values in a chunk. The temporaries, some ten times the chunk, bound it (8 GB).
_CHUNK = 200_000_000


def change_colours(views_N3HW: Tensor, params_NP: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """See `photometric`; float32, the views on a GPU."""
    device = views_N3HW.device
    out = torch.empty(views_N3HW.shape, dtype=torch.float32, device=device)
    if not len(out):
        return out
    scale = torch.tensor([1 / (255 * s) for s in std]).view(3, 1, 1).to(device, non_blocking=True)
    offset = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]).view(3, 1, 1).to(device, non_blocking=True)
    plan = _Plan.of(params_NP, device)
    limit = max(1, _CHUNK // out[0].numel())
    for here in plan.chunks(limit):
        views = views_N3HW.index_select(0, plan.rows[here]).float()
        _augment(views, plan, here)
        out.index_copy_(0, plan.rows[here], views.mul_(scale).add_(offset))
    return out


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to do to each image, sorted so that images alike in kind, blur radius, grey and solarise lie together.

    Args:
        rows: (N,) place in the batch; on the device, like all tensors.
        blends: (4, N, 3) weights of `operations.blend` for each place in the order of the jitter.
        turns: (N,) hue shifts.
        kernels: (N, K) of the blur.
        kinds: Place of the hue in the order of the jitter, or `_NO_JITTER`.
        only_brightness: For each place in that order, whether an image's blend is brightness.
        radii: Radii of the blur in pixels, 0 for none.
        gray: Whether to grey.
        solarise: Whether to solarise.
    """

    rows: Tensor
    blends: Tensor
    turns: Tensor
    kernels: Tensor
    kinds: list[int]
    only_brightness: list[list[bool]]
    radii: list[int]
    gray: list[bool]
    solarise: list[bool]

    @classmethod
    def of(cls, params: Tensor, device: torch.device) -> Self:
        """Sort a batch's parameters and send to the device what it needs, without waiting for it."""
        orders = _ORDERS[params[:, ORDER].long()]
        jittered = (params[:, : len(_NEUTRAL)] != _NEUTRAL).any(1)
        kinds = torch.where(jittered, (orders == HUE).long().argmax(1), _NO_JITTER)
        kernels, radii = operations.gaussian_kernels(params[:, SIGMA])
        gray, solarise = params[:, GRAY] > 0, params[:, SOLARISE] > 0
        key = kinds * kernels.shape[1] + torch.tensor(radii)
        rows = torch.argsort((key * 2 + gray) * 2 + solarise, stable=True)

        orders, params = orders[rows].t(), params[rows]
        factors = params.t().gather(0, orders)
        blends = torch.stack((factors, (1 - factors) * (orders == CONTRAST), (1 - factors) * (orders == SATURATION)), 2)
        return cls(
            rows=rows.to(device, non_blocking=True),
            blends=blends.to(device, non_blocking=True),
            turns=params[:, HUE].to(device, non_blocking=True),
            kernels=kernels[rows].to(device, non_blocking=True),
            kinds=kinds[rows].tolist(),
            only_brightness=(orders == BRIGHTNESS).tolist(),
            radii=[radii[row] for row in rows.tolist()],
            gray=gray[rows].tolist(),
            solarise=solarise[rows].tolist(),
        )

    def chunks(self, limit: int) -> Iterator[slice]:
        """Slices of one kind and at most `limit` images."""
        for _, here in _runs(self.kinds):
            for start in range(here.start, here.stop, limit):
                yield slice(start, min(start + limit, here.stop))


def _augment(views: Tensor, plan: _Plan, here: slice) -> None:
    """Apply everything but the normalisation, in place, to values in [0, 255] of images of one kind."""
    kind = plan.kinds[here.start]
    for place in range(4) if kind != _NO_JITTER else ():
        if place == kind:
            operations.turn_hue(views, plan.turns[here])
        elif all(plan.only_brightness[place][here]):
            operations.brighten(views, plan.blends[place, here, 0])
        else:
            operations.blend(views, *plan.blends[place, here].unbind(1))
    for gray, run in _runs(plan.gray[here]):
        if gray:
            operations.gray(views[run])
    for radius, run in _runs(plan.radii[here]):
        if radius:
            operations.blur(views[run], plan.kernels[here][run, : radius + 1])
    for solarise, run in _runs(plan.solarise[here]):
        if solarise:
            operations.solarise(views[run])


def _runs(values: Sequence[int]) -> Iterator[tuple[int, slice]]:
    """Stretches of one value."""
    start = 0
    for value, group in groupby(values):
        stop = start + len(list(group))
        yield value, slice(start, stop)
        start = stop
