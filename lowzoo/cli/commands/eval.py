"""`lowzoo eval`: how good a model's frozen features are; a sub-command a protocol, made of the protocol's function."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import typer

from lowzoo.base.errors import LowzooError
from lowzoo.cli.options.from_signature import command, group
from lowzoo.evaluate.protocols import PROTOCOLS


def _command(name: str) -> Callable[..., None]:
    protocol = PROTOCOLS[name]
    function = protocol.evaluate
    more = {"divide": True} if "divide" in inspect.signature(function).parameters else {}

    @functools.wraps(function)
    def evaluated(**words: Any) -> Any:
        from lowzoo.system.processes import started_first, under_torchrun

        if under_torchrun() and not more:
            raise LowzooError(f"eval {name} runs in one process, and several were started", "Start it without torchrun")
        found = function(**words, **more)
        if not started_first():  # of several processes, the first one prints
            raise typer.Exit
        return found

    return command(evaluated, lambda found: found.lines())


app = typer.Typer(
    cls=group(PROTOCOLS.names, _command), rich_markup_mode=None, help="Measure how good a model's frozen features are."
)


@app.callback()
def _eval() -> None:
    """Measure how good a model's frozen features are; choose a protocol."""
