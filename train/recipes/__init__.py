"""The recipes: a folder each, which is found by itself, with declaration, configuration, method and presets."""

from pkgutil import iter_modules
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.base.registry import Registry
from lowzoo.train.recipes.recipe import BatchAndSize, Choice, Masks, Needs, Recipe, needed_teacher

RECIPES: Registry[Recipe[Any]] = Registry(
    Recipe,
    "recipe",
    "lowzoo.recipes",
    {room.name: f"{__name__}.{room.name}:RECIPE" for room in iter_modules(__path__) if room.ispkg},
)

__all__ = ["RECIPES", "BatchAndSize", "Choice", "Masks", "Needs", "Recipe", "needed_teacher", "owner_of_preset"]


def owner_of_preset(name: str) -> Recipe[Any]:
    """The recipe that a preset belongs to; the package's own are asked first, and plug-ins only if none of them has it.

    Raises:
        LowzooError: No recipe has it.
    """
    for recipe in RECIPES.names():
        try:
            if name in RECIPES[recipe].preset_names():
                return RECIPES[recipe]
        except LowzooError:  # of a plug-in, said where it is named
            continue
    raise LowzooError(f"unknown preset {name!r}", "Name one that `lowzoo train RECIPE --help` lists")
