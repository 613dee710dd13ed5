"""Which labelled images a protocol may use: held-out parts, a few of each class, or a published list.

All draws are functions of (labels, seed). Indices come back sorted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import ImageSource
from lowzoo.io.text_file import Line, read_lines

Indices = NDArray[np.int64]

_MOST_FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class ClassNumbers:
    """The classes of a source, counted from 0 in the order of their ids, which may be any whole numbers.

    Args:
        ids: (C,) of the classes that hold images, ascending.
    """

    ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def numbers(self, labels: Tensor) -> Tensor:
        """Ids -> 0 to C - 1; every id must be one of the classes."""
        return torch.searchsorted(torch.from_numpy(self.ids).to(labels.device), labels)

    def ids_of(self, numbers: Tensor) -> Tensor:
        """0 to C - 1 -> ids."""
        return torch.from_numpy(self.ids).to(numbers.device)[numbers]


def require_classes(labels: NDArray[np.int64], name: str) -> ClassNumbers:
    """Number the classes that hold images, or refuse fewer than two."""
    ids = np.unique(labels)
    if len(ids) < 2:
        raise LowzooError(
            f"{name} holds images of one class only, and every classifier is right there", "Give at least two classes"
        )
    return ClassNumbers(ids)


def held_out(labels: NDArray[np.int64], fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Divide into (rest, held-out part): `fraction` of every class, rounded, and at least one image on either side.

    A class of one image stays in the rest.

    Raises:
        LowzooError: Every class has a single image.
    """
    rng = np.random.default_rng([seed, 1])
    held = [
        rng.permutation(positions)[: min(max(1, round(fraction * len(positions))), len(positions) - 1)]
        for positions in _of_each_class(labels)
    ]
    chosen = np.sort(np.concatenate(held))
    if not len(chosen):
        raise LowzooError(
            f"none of {len(labels)} images can be held out, as every class has a single one",
            "Give more images of some classes",
        )
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def folds(labels: NDArray[np.int64], seed: int) -> list[NDArray[np.bool_]]:
    """Masks (N,) of the held-out parts of a cross-validation, five at most and one for each image of the largest class.

    Each class is dealt out to them. A class of one image is in none, and there are no masks if all are such.
    """
    rng = np.random.default_rng([seed, 5])
    rank = np.full(len(labels), -1)
    counts = []
    for label in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(labels == label))
        counts.append(len(mine))
        if len(mine) > 1:
            rank[mine] = np.arange(len(mine))
    count = min(_MOST_FOLDS, max(counts))
    return [(rank >= 0) & (rank % count == fold) for fold in range(count)] if count > 1 else []


def shots(labels: NDArray[np.int64], count: int, seed: int) -> Indices:
    """Draw `count` images of each class.

    Raises:
        LowzooError: A class has fewer.
    """
    rng = np.random.default_rng([seed, 2])
    positions = _of_each_class(labels)
    smallest = min(map(len, positions))
    if count < 1 or smallest < count:
        raise LowzooError(
            f"{count} images of each class are wanted, and the smallest class has {smallest}",
            f"Choose between 1 and {smallest}",
        )
    return np.sort(np.concatenate([rng.permutation(mine)[:count] for mine in positions]))


def fraction_of(labels: NDArray[np.int64], fraction: float, seed: int) -> Indices:
    """Draw `fraction` (0 to 1) of the images of each class, rounded, at least one of each."""
    if not 0 < fraction <= 1:
        raise LowzooError(f"a fraction of {fraction:g} of the images is impossible", "Choose between 0 and 1")
    rng = np.random.default_rng([seed, 3])
    drawn = [rng.permutation(mine)[: max(1, round(fraction * len(mine)))] for mine in _of_each_class(labels)]
    return np.sort(np.concatenate(drawn))


def listed(source: ImageSource, kept: Sequence[int], file: Path) -> Indices:
    """Positions among `kept` of the images that a list names, one file name a line (as SimCLR's and MSN's lists do).

    A name may have folders before it, with either slash, and a class behind it.

    Raises:
        LowzooError: The list cannot be read, names an image that the source lacks or twice, or one that a name alone
            does not tell from another.
    """
    lines = read_lines(file, "a list of images", "Name a text file with one image a line")
    if not lines:
        raise LowzooError(f"the list {file} names no image", "Name a text file with one image a line")
    alike: dict[str, list[int]] = {}
    paths = [PureWindowsPath(source.where(index)).parts for index in kept]
    for position, parts in enumerate(paths):
        alike.setdefault(parts[-1], []).append(position)

    def named(word: str) -> list[int]:
        parts = PureWindowsPath(word).parts
        found = alike.get(parts[-1], [])
        # Lists say folders of their own machine, so they only decide where the name does not.
        return found if len(found) < 2 else [i for i in found if paths[i][-len(parts) :] == parts]

    places: dict[int, Line] = {}
    missing = []
    for line in lines:
        found = named(line.text) or named(line.text.rpartition(" ")[0] or line.text) or named(line.text.split()[0])
        if len(found) > 1:
            raise LowzooError(
                f"line {line.number} of {file}, {line.text!r}, is the name of {len(found)} images of {source.name}",
                "Write the folder before the name",
            )
        if not found:
            missing.append(line)
        elif found[0] in places:
            raise LowzooError(
                f"{file} names one image twice, {line.text!r} on lines {places[found[0]].number} and {line.number}",
                "Take out one of them",
            )
        else:
            places[found[0]] = line
    if missing:
        raise LowzooError(
            f"{len(missing)} of {len(lines)} images of {file} are not in {source.name}, e.g. {missing[0].text} on line "
            f"{missing[0].number}",
            "Name the images that the list was made for",
        )
    return np.sort(np.array(list(places), np.int64))


def _of_each_class(labels: NDArray[np.int64]) -> list[Indices]:
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
