"""Block masks of iBOT (Zhou et al., arXiv 2111.07832): rectangles of masked patches, from (seed, epoch, index) alone.

For each view one of the mean fractions is drawn, then the share uniformly around it; rectangles of random size, shape
and place are added until it is reached or ten in a row do not fit. The logarithm of a rectangle's aspect is uniform and
symmetrical, as in the official code: blocks are as often wide as tall.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_TRIES = 10
# Keeps the stream apart from those of the views.
_STREAM = 0x6D61736B


def block_mask(
    grid: tuple[int, int],
    seed: int,
    epoch: int,
    index: int,
    view: int,
    *,
    ratios: Sequence[float] = (0.0, 0.3),
    spreads: Sequence[float] = (0.0, 0.2),
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
) -> NDArray[np.bool_]:
    """The mask (h, w) of one view, True where a patch is masked.

    Args:
        grid: Rows and columns of patches.
        seed: Random seed of the run.
        epoch: From 0.
        index: Index of the image in its source.
        view: Number of the global view.
        ratios: Mean fractions, each as likely as the others.
        spreads: Half width of the uniform draw around each.
        aspect: Least and greatest height of a rectangle over its width.
    """
    generator = np.random.Generator(np.random.Philox(key=[seed, _STREAM], counter=[0, view, epoch, index]))
    height, width = grid
    mask = np.zeros(grid, bool)
    chosen = int(generator.integers(len(ratios)))
    share = ratios[chosen] + spreads[chosen] * generator.uniform(-1, 1)
    budget = share * height * width
    masked = 0
    while masked < budget:
        added = _add_block(mask, budget - masked, aspect, generator)
        if not added:
            break
        masked += added
    return mask


def _add_block(
    mask: NDArray[np.bool_], most: float, aspect: tuple[float, float], generator: np.random.Generator
) -> int:
    """Mask one more rectangle that adds at most `most` patches; returns how many it added, 0 if none was found."""
    height, width = mask.shape
    # A ninth of the grid: what is left of the budget when less remains is often not used, as in the official code.
    smallest = (min(height, width) // 3) ** 2
    for _ in range(_TRIES):
        area = smallest + (most - smallest) * generator.random()
        ratio = math.exp(generator.uniform(math.log(aspect[0]), math.log(aspect[1])))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if h >= height or w >= width:
            continue
        top, left = int(generator.integers(height - h + 1)), int(generator.integers(width - w + 1))
        block = mask[top : top + h, left : left + w]
        fresh = block.size - int(block.sum())
        if 0 < fresh <= most:
            block[...] = True
            return fresh
    return 0
