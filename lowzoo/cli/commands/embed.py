"""`lowzoo embed`: a model's features of one's own images, as a table and as a picture."""

import functools
from collections.abc import Mapping
from typing import Any

import typer

from lowzoo.base.errors import LowzooError
from lowzoo.cli.options.from_signature import command
from lowzoo.embedding import Embeddings
from lowzoo.embedding import embed as function


def _something_is_written(given: Mapping[str, Any], _: bool) -> None:
    if given["out"] is None and given["sheet"] is None:
        raise LowzooError("nothing is to be written", "Name a table by --out, a picture by --sheet, or both")


@functools.wraps(function)
def _embedded(*words: Any, **options: Any) -> Any:
    found = function(*words, **options, divide=True)
    from lowzoo.system.processes import started_first

    # Of several processes that made one table, the first one prints; of shards, each prints which it wrote.
    if isinstance(found, Embeddings) and not started_first():
        raise typer.Exit
    return found


embed = command(_embedded, lambda found: found.lines(), check=_something_is_written)
