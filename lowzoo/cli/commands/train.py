"""`lowzoo train`: make new weights; a sub-command a recipe, made of the recipe's function."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import typer

from lowzoo.cli.options.from_signature import command, group

if TYPE_CHECKING:
    from lowzoo.train import TrainResult


def _names() -> list[str]:
    from lowzoo.train.recipes import RECIPES

    return RECIPES.names()


def _command(recipe: str) -> Callable[..., None]:
    from lowzoo.train.api import function_of
    from lowzoo.train.recipes import RECIPES

    function, presets = function_of(recipe), RECIPES[recipe].offered_presets()

    @functools.wraps(function)
    def trained(**words: Any) -> "TrainResult":
        result: TrainResult = function(**words)
        if not result.facts:  # of several processes, the first one speaks
            raise typer.Exit
        return result

    # In Python the images may stand first; a command calls them by their name, as all that it may go without.
    parameters = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in inspect.signature(function).parameters.values()
    ]
    trained.__dict__["__signature__"] = inspect.Signature(parameters)
    return command(
        trained,
        _nothing_more,
        json_help="Print the facts of the finished run as one JSON document.",
        note=f"Presets: {', '.join(presets)}." if presets else "",
    )


def _nothing_more(_: "TrainResult") -> Iterator[str]:
    """What there is to say of a run, it has said."""
    yield from ()


app = typer.Typer(cls=group(_names, _command), rich_markup_mode=None, help="Train a student without labels.")


@app.callback()
def _train() -> None:
    """Train a student without labels; choose a recipe."""
