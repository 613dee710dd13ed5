"""`lowzoo export`: a file for a phone, checked against PyTorch."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lowzoo.cli.options.from_signature import command
from lowzoo.export.functions import export as function


@contextlib.contextmanager
def _sign_of_life(given: Mapping[str, Any], _: bool) -> Iterator[Callable[[str], None]]:
    from rich.console import Console

    console, model = Console(stderr=True), given["model"]
    with console.status(f"exporting {model} and checking it against PyTorch") as status:

        def say(stage: str) -> None:
            if console.is_terminal:
                status.update(f"{model}: {stage}")
            elif stage.startswith("int8"):  # what takes minutes
                print(stage, file=sys.stderr, flush=True)

        say.bars = True  # type: ignore[attr-defined]
        yield say


export = command(
    function,
    lambda found: found.lines(),
    follow=_sign_of_life,
    # Of all formats: one that failed, or no file at all.
    status=lambda found: int(bool(getattr(found, "failed", ())) or not getattr(found, "artifacts", True)),
)
