"""Some of the images of tiny-imagenet-100 as a source: a benchmark's scripts share it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowzoo.data.source import ImageSource, open_set


def part(data: Path, split: str, chosen: NDArray[np.int64]) -> ImageSource:
    """The images `chosen` of a split, which lie by class one after another or mixed; any share of them is drawn alike.

    Args:
        data: Folder with the parquet files.
        split: "train" or "validation".
        chosen: Numbers of images (K,).
    """
    whole = open_set(str(data)).open(split)
    return replace(whole.subset(chosen), name=f"{whole.name}, {len(chosen)} of them")
