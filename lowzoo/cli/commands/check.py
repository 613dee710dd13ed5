"""`lowzoo check`: a file made earlier or elsewhere, against PyTorch and against what phones can run."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from lowzoo.cli.options.from_signature import command
from lowzoo.cli.options.on_stderr import stages_on_stderr
from lowzoo.export.functions import check as function


def _stages(given: Mapping[str, Any], _: bool) -> AbstractContextManager[Callable[[str], None]]:
    return stages_on_stderr(f"checking {' and '.join(map(str, given['artifact']))}")


check = command(function, lambda report: report.lines(), follow=_stages, status=lambda report: int(bool(report.broken)))
