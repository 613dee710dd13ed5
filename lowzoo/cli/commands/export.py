"""`lowzoo export`: a file for a phone, checked against PyTorch."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from lowzoo.cli.options.from_signature import command
from lowzoo.cli.options.on_stderr import stages_on_stderr
from lowzoo.export.functions import export as function


def _stages(given: Mapping[str, Any], _: bool) -> AbstractContextManager[Callable[[str], None]]:
    model = given["model"]
    return stages_on_stderr(f"exporting {model} and checking it against PyTorch", f"{model}: ")


export = command(
    function,
    lambda found: found.lines(),
    follow=_stages,
    # Of all formats: one that failed, or no file at all.
    status=lambda found: int(bool(getattr(found, "failed", ())) or not getattr(found, "artifacts", True)),
)
