"""Attributes of a package that are imported when somebody asks for them: importing the package costs nothing."""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_attributes(package: str, places: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Give a package's `__getattr__` and `__dir__`.

    Args:
        package: Its name.
        places: Name of each attribute, and the module that holds it.
    """

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(places[name]), name)

    def names() -> list[str]:
        return sorted({*vars(import_module(package)), *places})

    return get, names


def entries_in_folder(package: str, attribute: str, first: Sequence[str] = ()) -> dict[str, str]:
    """What each module of a package declares, as a registry takes it; no module is imported.

    Args:
        package: Its name; a module is called as what it declares, `-` written `_`.
        attribute: Name of the declaration in each.
        first: Names that stand before the others, which follow by the alphabet.
    """
    found = {module.name.replace("_", "-") for module in pkgutil.iter_modules(import_module(package).__path__)}
    names = [*(name for name in first if name in found), *sorted(found - {*first})]
    return {name: f"{package}.{name.replace('-', '_')}:{attribute}" for name in names}


def resolved_place(place: Any) -> Any:
    """What "module:attribute" names, imported now; anything else as it is."""
    if not isinstance(place, str):
        return place
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
