"""The "Next:" line of a command: what can be run on what it made, in words that a shell takes as they are printed."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

_BETWEEN = "    or    "


def next_line(*commands: Sequence[str | Path]) -> str:
    """Write commands as one line.

    Args:
        commands: Words after `lowzoo`; a `Path` is written so that it is taken for neither an option nor the name of a
            model that happens to be called the same.
    """
    return "Next: " + _BETWEEN.join(shlex.join(["lowzoo", *(_word(word) for word in words)]) for words in commands)


def commands_of(text: str) -> list[list[str]]:
    """Read the words of every command that "Next:" lines of `text` name."""
    lines = [line.removeprefix("Next: ") for line in text.splitlines() if line.startswith("Next: ")]
    return [shlex.split(command) for line in lines for command in line.split(_BETWEEN)]


def _word(word: str | Path) -> str:
    if isinstance(word, Path) and not word.is_absolute() and len(word.parts) < 2:
        return f".{os.sep}{word}"
    return str(word)
