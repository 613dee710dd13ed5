"""`lowzoo eval`: how good a model's frozen features are; a sub-command a protocol, made of the protocol's function."""

import functools
from collections.abc import Callable
from typing import Any

import typer

from lowzoo.cli.options.from_signature import command, group
from lowzoo.evaluate.protocols import PROTOCOLS


def _command(name: str) -> Callable[..., None]:
    function = PROTOCOLS[name].evaluate

    @functools.wraps(function)
    def evaluated(**words: Any) -> Any:
        found = function(**words)
        from lowzoo.system.processes import started_first

        if not started_first():  # of several processes, the first one speaks
            raise typer.Exit
        return found

    return command(evaluated, lambda found: found.lines())


app = typer.Typer(
    cls=group(PROTOCOLS.names, _command), rich_markup_mode=None, help="Measure how good a model's frozen features are."
)


@app.callback()
def _eval() -> None:
    """Measure how good a model's frozen features are; choose a protocol."""
