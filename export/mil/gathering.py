"""Operators of MIL that read or write at positions: gathers and scatters."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_REDUCES = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def gather(x: Tensor, indices: Tensor, axis: Any = 0, batch_dims: Any = 0, validate_indices: Any = False) -> Tensor:
    """Entries of x along an axis, in the shape of the indices; the first `batch_dims` dimensions go together."""
    along, batches = int(axis) % x.ndim, int(batch_dims)
    positions = torch.where(indices < 0, indices + x.shape[along], indices).long()
    if not batches:
        rows = x.index_select(along, positions.reshape(-1))
        return rows.reshape(*x.shape[:along], *positions.shape, *x.shape[along + 1 :])
    parts = [gather(row, places, along - 1, batches - 1) for row, places in zip(x, positions, strict=True)]
    return torch.stack(parts)


def gather_nd(x: Tensor, indices: Tensor, batch_dims: Any = 0, validate_indices: Any = False) -> Tensor:
    """x[indices[..., :]]: the last dimension of the indices is one position of several dimensions."""
    if batches := int(batch_dims):
        return torch.stack([gather_nd(row, at, batches - 1) for row, at in zip(x, indices, strict=True)])
    return x[tuple(indices.long().movedim(-1, 0))]


def gather_along_axis(x: Tensor, indices: Tensor, axis: Any = 0, validate_indices: Any = False) -> Tensor:
    """Entries of x along an axis, where each line has positions of its own."""
    along = int(axis) % x.ndim
    return x.gather(along, torch.where(indices < 0, indices + x.shape[along], indices).long())


def scatter(
    data: Tensor, indices: Tensor, updates: Tensor, axis: Any = 0, mode: str = "add", validate_indices: Any = False
) -> Tensor:
    """Write whole slices at positions of an axis."""
    along = int(axis) % data.ndim
    lines = indices.reshape([-1 if i == along else 1 for i in range(data.ndim)]).expand(updates.shape)
    return scatter_along_axis(data, lines, updates, along, mode)


def scatter_along_axis(
    data: Tensor, indices: Tensor, updates: Tensor, axis: Any = 0, mode: str = "add", validate_indices: Any = False
) -> Tensor:
    """Write at positions of an axis, of its own for each line; `mode` says what becomes of what was there."""
    along = int(axis) % data.ndim
    positions = torch.where(indices < 0, indices + data.shape[along], indices).long()
    if mode == "update":
        return data.scatter(along, positions, updates.to(data.dtype))
    if mode in ("sub", "div"):
        updates, mode = (-updates, "add") if mode == "sub" else (1 / updates, "mul")
    if mode not in _REDUCES:
        raise ValueError(f"scattering by {mode!r}")
    return data.scatter_reduce(along, positions, updates.to(data.dtype), _REDUCES[mode])


def scatter_nd(
    data: Tensor, indices: Tensor, updates: Tensor, mode: str = "add", validate_indices: Any = False
) -> Tensor:
    """Write at positions of several dimensions; `mode` says what becomes of what was there."""
    depth = indices.shape[-1]
    flat = data.reshape(-1, *data.shape[depth:])
    place = torch.zeros(indices.shape[:-1], dtype=torch.int64)
    for i, side in enumerate(data.shape[:depth]):
        at = indices[..., i].long()
        place = place * side + torch.where(at < 0, at + side, at)
    rows = updates.reshape(-1, *data.shape[depth:])
    return scatter(flat, place.reshape(-1), rows, 0, mode).reshape(data.shape)


def one_hot(indices: Tensor, one_hot_vector_size: Any, axis: Any = -1, on_value: Any = 1, off_value: Any = 0) -> Tensor:
    """`on_value` where a position is named, `off_value` elsewhere, along a new axis."""
    size = int(one_hot_vector_size)
    named = indices[..., None] == torch.arange(size)
    found = torch.where(named, torch.as_tensor(on_value), torch.as_tensor(off_value))
    return found.movedim(-1, int(axis))


def non_zero(x: Tensor) -> Tensor:
    """Positions (N, R) of what is not 0."""
    return x.nonzero()


def slice_update(
    x: Tensor, update: Tensor, begin: Tensor, end: Tensor, stride: Tensor | None = None,
    begin_mask: Tensor | None = None, end_mask: Tensor | None = None, squeeze_mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """x, in which x[begin:end:stride] is `update`."""
    from lowzoo.export.mil.shapes import slice_by_index

    positions = torch.arange(x.numel()).reshape(x.shape)
    places = slice_by_index(positions, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    written = x.reshape(-1).clone()
    written[places.reshape(-1)] = update.to(x.dtype).expand(places.shape).reshape(-1)
    return written.reshape(x.shape)


GATHERING: dict[str, Callable[..., Any]] = {
    "gather": gather,
    "gather_nd": gather_nd,
    "gather_along_axis": gather_along_axis,
    "scatter": scatter,
    "scatter_nd": scatter_nd,
    "scatter_along_axis": scatter_along_axis,
    "slice_update": slice_update,
    "one_hot": one_hot,
    "non_zero": non_zero,
}
