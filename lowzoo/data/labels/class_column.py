"""The column of a table that holds the classes, as numbers."""

from typing import Any

import numpy as np

from lowzoo.base.errors import LowzooError
from lowzoo.data.labels.class_numbers import Classes

_REMEDY = "Store one whole number or text a picture, or choose another column by --label-column"


def holds_classes(kind: Any) -> bool:
    """Tell whether an Arrow type is one that classes may have."""
    import pyarrow

    types = pyarrow.types
    kind = kind.value_type if types.is_dictionary(kind) else kind
    tests = (types.is_integer, types.is_string, types.is_large_string, types.is_boolean, types.is_floating)
    return any(test(kind) for test in tests)


def read_classes(column: Any, name: str, what: str, class_names: tuple[str, ...] | None) -> tuple[Classes, list[str]]:
    """Number the cells of an Arrow column.

    Whole numbers stand for themselves, texts are numbered in sorted order, an empty cell or a negative number is -1.

    Args:
        column: A chunked array.
        name: Name of the column.
        what: Names the table.
        class_names: What numbers mean where the table says so.

    Returns:
        (N,) numbers and what they mean, None without any class; and what to say.

    Raises:
        LowzooError: The cells are no classes.
    """
    import pyarrow

    types = pyarrow.types
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if types.is_null(kind):
        return (None, None), [f"the column {name!r} of {what} is empty"]
    if types.is_string(kind) or types.is_large_string(kind):
        labels, class_names = _numbered(np.array(column.fill_null("").to_pylist(), dtype=str))
    elif types.is_boolean(kind):
        labels = column.cast(pyarrow.int8()).cast(pyarrow.int64()).fill_null(-1).to_numpy()
    elif types.is_integer(kind):
        try:
            labels = column.cast(pyarrow.int64()).fill_null(-1).to_numpy()
        except pyarrow.ArrowInvalid as error:
            raise LowzooError(f"the column {name!r} of {what} holds numbers beyond 63 bits", _REMEDY) from error
    elif types.is_floating(kind):
        numbers = column.cast(pyarrow.float64()).fill_null(np.nan).to_numpy()
        given = numbers[~np.isnan(numbers)]
        if (given != np.floor(given)).any() or (np.abs(given) >= 2**53).any():
            raise LowzooError(f"the column {name!r} of {what} holds fractions, which are no classes", _REMEDY)
        labels = np.where(np.isnan(numbers), -1, numbers).astype(np.int64)
    else:
        raise LowzooError(f"the column {name!r} of {what} is {kind}, which is no class", _REMEDY)
    labels = np.maximum(labels.astype(np.int64), -1)
    if not len(labels) or labels.max() < 0:
        return (None, None), []
    if class_names is not None and labels.max() >= len(class_names):
        raise LowzooError(
            f"the column {name!r} of {what} holds the number {labels.max()}, and names {len(class_names)} classes",
            "Write the table anew with the names of all classes",
        )
    without = int((labels < 0).sum())
    return (labels, class_names), [f"{without} rows of {what} have no class"] if without else []


def _numbered(texts: np.ndarray[Any, np.dtype[np.str_]]) -> tuple[Any, tuple[str, ...]]:
    given = texts != ""
    names, numbers = np.unique(texts[given], return_inverse=True)
    labels = np.full(len(texts), -1, np.int64)
    labels[given] = numbers
    return labels, tuple(map(str, names))
