"""Functions that share their options: typed once as a `TypedDict`, and shown by each as its own arguments.

A type checker reads `**options: Unpack[Shared]`. Whoever asks at run time (`help`, a notebook, the command line) sees
the options spelled out in the signature, and their lines in the docstring.
"""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin

from lowzoo.base.options import Option

F = TypeVar("F", bound=Callable[..., Any])


def spelled_out(*shared: type) -> Callable[[F], F]:
    """Decorate a function that takes `**options: Unpack[...]`.

    Args:
        *shared: `TypedDict`s whose entries the function takes; each entry has its line under `Args:`.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        kept = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        taken = {each.name for each in kept}
        more = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_default(kind), annotation=kind)
            for group in shared
            for name, kind in _own(group, shared).items()
            if name not in taken
        ]
        shown = signature.replace(parameters=[*kept, *more])

        @functools.wraps(function)
        def checked(*arguments: Any, **words: Any) -> Any:
            shown.bind(*arguments, **words)  # else a misspelled option would go unnoticed
            return function(*arguments, **words)

        checked.__dict__["__signature__"] = shown
        checked.__doc__ = _documented(function, shared)
        return cast("F", checked)

    return decorate


def _own(group: type, shared: tuple[type, ...]) -> dict[str, Any]:
    """The entries of a `TypedDict` that none of the others has: one that extends another has that one's, too."""
    entries = dict(group.__annotations__)
    for other in shared:
        if other is not group and len(other.__annotations__) < len(entries):
            entries = {name: kind for name, kind in entries.items() if name not in other.__annotations__}
    return entries


def _default(kind: Any) -> Any:
    plain, *about = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    given = next((each.default for each in about if isinstance(each, Option)), None)
    return False if given is None and plain is bool else given


def _documented(function: Callable[..., Any], shared: tuple[type, ...]) -> str:
    """The docstring, with the lines of the shared options after its own under `Args:`."""
    text = inspect.cleandoc(function.__doc__ or "")
    lines = [line for group in shared for line in _lines(group)]
    kept = [line for line in text.splitlines() if not re.match(r"    \*\*\w+:", line)]
    place = kept.index("Args:") + 1
    while place < len(kept) and kept[place].startswith("    "):
        place += 1
    return "\n".join([*kept[:place], *lines, *kept[place:]])


def _lines(group: type) -> list[str]:
    text = inspect.cleandoc(group.__doc__ or "").splitlines()
    return [line for line in text[text.index("Args:") + 1 :] if line.startswith("    ")]
