"""From the classes that people write beside their pictures to numbers."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Tables that hold an empty cell write their whole numbers with a point.
_WHOLE = re.compile(r"[+-]?\d{1,18}(\.0*)?")

Classes = tuple[NDArray[np.int64] | None, tuple[str, ...] | None]


def number_classes(texts: Sequence[str]) -> Classes:
    """Number the classes of N pictures: whole numbers stand for themselves, names are numbered in sorted order.

    Args:
        texts: A whole number or a name each; empty for a picture without a class.

    Returns:
        (N,) numbers, -1 without a class, and what they mean; None for both without any class, and for the names of
        numbers. Negative numbers stand for no class.
    """
    distinct = set(texts) - {""}
    if not distinct:
        return None, None
    if all(map(_WHOLE.fullmatch, distinct)):
        number_of = {text: max(-1, int(text.partition(".")[0])) for text in distinct}
        names = None
        if max(number_of.values()) < 0:
            return None, None
    else:
        names = tuple(sorted(distinct))
        number_of = {name: number for number, name in enumerate(names)}
    number_of[""] = -1
    return np.fromiter((number_of[text] for text in texts), np.int64, len(texts)), names
