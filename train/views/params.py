"""The random parameters of an image's views: a pure function of (seed, epoch, index, group, view).

So a view can be replayed anywhere, by another worker, after a restart, or for another student. Every group draws from
a stream of its own, view after view: global views stay the same whatever local views stand beside them, which lets one
cache of teacher outputs serve students with other local views.
"""

import functools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from lowzoo.train.views.spec import ViewGroup

# Columns of the photometric parameters.
BRIGHTNESS, CONTRAST, SATURATION, HUE, ORDER, GRAY, SIGMA, SOLARISE = range(8)
COLUMNS = 8
# What a number in the column ORDER stands for: the operations of the jitter, one after another.
JITTER_ORDERS = tuple(permutations((BRIGHTNESS, CONTRAST, SATURATION, HUE)))
# What a view is made of, as `ViewParams.record` lays it out.
RECORD_FIELDS = (
    *("crop top", "crop left", "crop height", "crop width", "flip"),
    *("brightness", "contrast", "saturation", "hue", "jitter order", "gray", "blur sigma", "solarise"),
)

_CROP_TRIES = 10
# Crop: area, ratio, top, left for each try; then flip, jitter on, four factors, order, gray, blur on, sigma, solarise.
_UNIFORMS = 4 * _CROP_TRIES + 11


@dataclass(frozen=True, slots=True)
class ViewParams:
    """Parameters of the V views of one image, in the order of the groups.

    Args:
        boxes: (V, 4) int64 crop boxes: top, left, height, width in pixels of the image as it is stored.
        flips: (V,) bool.
        photometric: (V, 8) float32: factors of brightness, contrast and saturation (1 = off), hue shift in turns
            (0 = off), number 0..23 of the order in which those four are applied, gray (0 or 1), blur sigma in pixels
            (0 = off), solarise (0 or 1). They do not depend on the image.
    """

    boxes: NDArray[np.int64]
    flips: NDArray[np.bool_]
    photometric: NDArray[np.float32]

    def record(self) -> NDArray[np.float32]:
        """Everything in one array (V, 13) float32, with the columns of `RECORD_FIELDS`; pixels below 2^24 are exact."""
        return np.concatenate([self.boxes, self.flips[:, None], self.photometric], axis=1, dtype=np.float32)


def sample_params(
    groups: Sequence[ViewGroup],
    seed: int,
    epoch: int,
    index: int,
    height: int,
    width: int,
    *,
    view_epochs: int | None = None,
) -> ViewParams:
    """Draw the parameters of all views of image `index` in `epoch`.

    Args:
        groups: The groups of views, V views in all.
        seed: Random seed of the run, below 2^64.
        epoch: From 0.
        index: Index of the image in its source.
        height: Height of the image as it is stored, in pixels.
        width: Width of the image as it is stored, in pixels.
        view_epochs: Global views repeat after so many epochs; local ones never do. None is never.
    """
    views = sum(group.count for group in groups)
    boxes = np.empty((views, 4), np.int64)
    photometric = np.empty((views, COLUMNS), np.float32)
    flips = np.empty(views, np.bool_)
    view = 0
    alike: Counter[str] = Counter()
    for group in groups:
        drawn_in = epoch % view_epochs if view_epochs and group.name == "global" else epoch
        # Counter-based: the key names run and group, the counter epoch and image, so nothing has to be spun forward.
        key = seed | _stream(group.name, alike[group.name]) << 64
        alike[group.name] += 1
        generator = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, drawn_in, index]))
        uniform = generator.random((group.count, _UNIFORMS)).tolist()
        for i, row in enumerate(uniform):
            boxes[view] = _crop_box(row, group.scale, group.ratio, height, width)
            flips[view], photometric[view] = _photometric(row[4 * _CROP_TRIES :], group, i)
            view += 1
    return ViewParams(boxes, flips, photometric)


@functools.cache
def _stream(name: str, number: int) -> int:
    """64 bits for the group of this name that has `number` others of its name before it."""
    return int.from_bytes(sha256(f"{name} {number}".encode()).digest()[:8], "little")


def _crop_box(
    row: list[float], scale: tuple[float, float], ratio: tuple[float, float], height: int, width: int
) -> tuple[int, int, int, int]:
    """Torchvision's RandomResizedCrop: ten tries, then the largest centre crop within the ratio."""
    area = height * width
    log_low, log_high = math.log(ratio[0]), math.log(ratio[1])
    for attempt in range(0, 4 * _CROP_TRIES, 4):
        target = area * (scale[0] + (scale[1] - scale[0]) * row[attempt])
        aspect = math.exp(log_low + (log_high - log_low) * row[attempt + 1])
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(row[attempt + 2] * (height - h + 1)), int(row[attempt + 3] * (width - w + 1)), h, w
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = (width, round(width / aspect)) if width / height < aspect else (round(height * aspect), height)
    w, h = max(1, min(w, width)), max(1, min(h, height))
    return (height - h) // 2, (width - w) // 2, h, w


def _photometric(row: list[float], group: ViewGroup, i: int) -> tuple[bool, list[float]]:
    flip, jitter, b, c, s, h, order, gray, blur, sigma, solarise = row
    jittered = jitter < group.jitter_p
    low, high = group.blur_sigma
    return flip < group.flip, [
        1 + group.jitter[0] * (2 * b - 1) if jittered else 1.0,
        1 + group.jitter[1] * (2 * c - 1) if jittered else 1.0,
        1 + group.jitter[2] * (2 * s - 1) if jittered else 1.0,
        group.jitter[3] * (2 * h - 1) if jittered else 0.0,
        float(int(order * len(JITTER_ORDERS))),
        float(gray < group.gray),
        low + (high - low) * sigma if blur < group.blur[i if len(group.blur) > 1 else 0] else 0.0,
        float(solarise < group.solarise[i if len(group.solarise) > 1 else 0]),
    ]
