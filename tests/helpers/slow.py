"""Mark the many cases of one test as slow or for a sweep, and leave some for every run."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import pytest


def slow_but(values: Iterable[Any], quick: Collection[Any]) -> list[Any]:
    """Return the values for `parametrize`, those that are not in `quick` marked as slow.

    A tuple holds the values of several arguments.
    """
    values = list(values)
    missing = [value for value in quick if value not in values]
    assert not missing, f"{missing} are no cases of this test"
    cases = [(value, value if isinstance(value, tuple) else (value,)) for value in values]
    return [value if value in quick else pytest.param(*parts, marks=pytest.mark.slow) for value, parts in cases]


def swept_but(values: Iterable[tuple[Any, ...]], each_run: Callable[..., bool]) -> list[Any]:
    """Return the values of several arguments for `parametrize`; those that `each_run` refuses wait for `-m sweep`."""
    return [
        case if each_run(*case) else pytest.param(*case, marks=(pytest.mark.slow, pytest.mark.sweep)) for case in values
    ]
