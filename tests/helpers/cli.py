"""Run a command in this process, as its user types it."""

from collections.abc import Callable, Iterable

import pytest

from lowzoo.cli.main import main


def exit_status(words: Iterable[object]) -> int:
    """The status with which a command ends."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def runner(*first: str) -> Callable[..., tuple[int, str, str]]:
    """A function that runs the command of these words and further ones; it gives status, output and errors."""

    def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
        return exit_status([*first, *words]), *capsys.readouterr()

    return run
