"""`lowzoo embed`: a model's features of one's own images, as a table and as a picture."""

from collections.abc import Mapping
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.cli.options.from_signature import command
from lowzoo.embedding import embed as function


def _something_is_written(given: Mapping[str, Any], _: bool) -> None:
    if given["out"] is None and given["sheet"] is None:
        raise LowzooError("nothing is to be written", "Name a table by --out, a picture by --sheet, or both")


embed = command(function, lambda found: found.lines(), check=_something_is_written)
