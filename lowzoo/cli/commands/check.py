"""`lowzoo check`: a file made earlier or elsewhere, against PyTorch and against what phones can run."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lowzoo.cli.options.from_signature import command
from lowzoo.export.functions import check as function


@contextlib.contextmanager
def _sign_of_life(given: Mapping[str, Any], _: bool) -> Iterator[Callable[[str], None]]:
    from rich.console import Console

    with Console(stderr=True).status(f"checking {' and '.join(map(str, given['artifact']))}") as status:

        def say(stage: str) -> None:
            status.update(stage)

        say.bars = True  # type: ignore[attr-defined]
        yield say


check = command(
    function, lambda report: report.lines(), follow=_sign_of_life, status=lambda report: int(bool(report.broken))
)
