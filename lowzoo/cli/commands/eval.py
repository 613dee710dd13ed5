"""`lowzoo eval`: how good a model's frozen features are; a sub-command a protocol, made of the protocol's function."""

from collections.abc import Callable

import typer

from lowzoo.cli.options.from_signature import command, group
from lowzoo.evaluate.protocols import PROTOCOLS


def _command(name: str) -> Callable[..., None]:
    return command(PROTOCOLS[name].evaluate, lambda found: found.lines())


app = typer.Typer(
    cls=group(PROTOCOLS.names, _command), rich_markup_mode=None, help="Measure how good a model's frozen features are."
)


@app.callback()
def _eval() -> None:
    """Measure how good a model's frozen features are; choose a protocol."""
