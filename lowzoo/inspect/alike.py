"""Pictures that are the same: byte for byte by their digests, and nearly by a network's features.

Two pictures are nearly the same where the cosine of their features is at least `COSINE` *and* their grey copies of
16 x 16 pixels correlate by at least `CORRELATION`, as they are or mirrored. Features alone take pictures of one kind
for copies of each other, small copies alone take any two of one layout. Both numbers were chosen on photographs by
`benchmarks/near_duplicates.py`: of copies that were re-encoded, resized, mirrored or brightened at least 99 % are
found, and of 12 million pairs of different pictures none is taken for a copy. Crops, turned pictures and those without
their colours are mostly not found. Drawings that share most of their lines are found, as copies may be meant so.

All pairs are compared in blocks, so memory does not grow with the number of pairs.
Shapes: N pictures, S splits, D dimensions, P pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from lowzoo.base.progress import progress_bar

COSINE, CORRELATION = 0.93, 0.95
_ROWS, _COLUMNS, _PAIRS = 2048, 8192, 1 << 16

Indices = NDArray[np.int64]


class Groups:
    """Which of N things belong together, joined pair by pair."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count)

    def join(self, first: Indices, second: Indices) -> None:
        """Put each `first[i]` (P,) into one group with `second[i]` (P,)."""
        while True:
            one, other = self._roots(first), self._roots(second)
            apart = one != other
            if not apart.any():
                return
            low, high = np.minimum(one, other)[apart], np.maximum(one, other)[apart]
            np.minimum.at(self._parent, high, low)

    def roots(self) -> Indices:
        """The smallest member (N,) of each thing's group."""
        return self._roots(np.arange(len(self._parent)))

    def _roots(self, of: Indices) -> Indices:
        found = self._parent[of]
        while (further := self._parent[found] != found).any():
            self._parent[of] = found = np.where(further, self._parent[found], found)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """What is alike among N pictures.

    Args:
        exact: (N,) the first picture with the same bytes; itself where there is none before it.
        near: (N,) the first picture of the group of same and nearly same ones.
        twin: (N, S) the picture of each split that is most like this one and not itself; -1 where none is.
        cosine: (N, S) how alike: 1 for the same bytes, 0 where there is none.
    """

    exact: Indices
    near: Indices
    twin: Indices
    cosine: NDArray[np.float32]


def find_alike(
    digests: list[bytes],
    splits: Indices,
    features: Tensor | None,
    small: NDArray[np.uint8],
    comparable: NDArray[np.bool_],
    *,
    progress: bool = True,
) -> Alike:
    """Find the same and nearly the same pictures within and between splits.

    Args:
        digests: Digests of the bytes of N pictures; an empty one is like no other.
        splits: (N,) number of the split of each.
        features: (N, D); None looks for the same bytes only.
        small: (N, 16, 16) grey copies.
        comparable: (N,) whether a picture is to be compared by its features: not where it is constant or broken.
        progress: Show a bar on stderr.
    """
    count, number = len(digests), int(splits.max()) + 1
    seen: dict[bytes, int] = {}
    exact = np.array([seen.setdefault(digest, i) if digest else i for i, digest in enumerate(digests)], np.int64)
    # The first two pictures of each split with these bytes: the second is the twin of the first.
    first, second = (np.full((count, number), -1, np.int64) for _ in range(2))
    for i in np.flatnonzero(np.bincount(exact, minlength=count)[exact] > 1).tolist():
        place = exact[i], splits[i]
        if first[place] < 0:
            first[place] = i
        elif second[place] < 0:
            second[place] = i
    alone = first.max(axis=1) < 0
    own = np.flatnonzero(alone & (exact == np.arange(count)))
    first[own, splits[own]] = own
    groups = Groups(count)
    groups.join(np.arange(count), exact)
    best = np.full((count, number), -1, np.int64)
    cosine = np.zeros((count, number), np.float32)
    if features is not None:
        chosen = np.flatnonzero(comparable & (exact == np.arange(count)))
        for a, b, values in _pairs(features, small, chosen, progress):
            groups.join(a, b)
            for one, other in ((a, b), (b, a)):
                _keep_best(best, cosine, one, first[other], values)
    best, cosine = best[exact], cosine[exact]
    same = np.where(first[exact] == np.arange(count)[:, None], second[exact], first[exact])
    found = same >= 0
    return Alike(exact, groups.roots(), np.where(found, same, best), np.where(found, np.float32(1), cosine))


def _keep_best(
    best: Indices, cosine: NDArray[np.float32], of: Indices, candidates: Indices, values: NDArray[np.float32]
) -> None:
    """For pictures `of` (P,), remember candidates (P, S) where they are more alike than those before."""
    order = np.argsort(values, kind="stable")  # of several for one picture, the last written stays
    for split in range(best.shape[1]):
        rows = order[(candidates[order, split] >= 0) & (values[order] > cosine[of[order], split])]
        best[of[rows], split], cosine[of[rows], split] = candidates[rows, split], values[rows]


def _pairs(
    features: Tensor, small: NDArray[np.uint8], chosen: Indices, progress: bool
) -> Iterator[tuple[Indices, Indices, NDArray[np.float32]]]:
    """Yield all pairs a < b (P,) of the chosen pictures that are nearly the same, with their cosines (P,)."""
    units = normalize(features[torch.from_numpy(chosen)], dim=1)
    straight = standardised(small[chosen])
    mirrored = standardised(small[chosen][:, :, ::-1])
    count = len(chosen)
    with progress_bar("comparing pictures", count, wanted=progress) as advance:
        for top in range(0, count, _ROWS):
            rows = units[top : top + _ROWS]
            for left in range(top, count, _COLUMNS):
                cosines = rows @ units[left : left + _COLUMNS].T
                above = (cosines >= COSINE).nonzero().numpy()
                # Each pair once; only the block on the diagonal holds pairs the other way round.
                above = above[above[:, 0] + top < above[:, 1] + left]
                for start in range(0, len(above), _PAIRS):
                    part = above[start : start + _PAIRS]
                    a, b = part[:, 0] + top, part[:, 1] + left
                    correlation = np.maximum(
                        np.einsum("pi,pi->p", straight[a], straight[b]), np.einsum("pi,pi->p", straight[a], mirrored[b])
                    )
                    same = correlation >= CORRELATION
                    values = cosines.numpy()[part[same, 0], part[same, 1]]
                    yield chosen[a[same]], chosen[b[same]], values
            advance(len(rows))


def standardised(small: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey copies as (N, 256) of mean 0 and length 1, whose products are correlations."""
    flat = small.reshape(len(small), small.shape[1] * small.shape[2]).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return flat
