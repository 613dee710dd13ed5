"""The one family of errors that a user of lowzoo meets, and what of other libraries' errors it repeats."""

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

_LONGEST = 200
_ARROW = " \u2b06\ufe0f"  # with which torch points from an error to the one it was made from
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What precedes the reason in the words of torch's exporter (steps to take, a bug to report) and of onnxruntime (its
# own name and number, and a temporary file's name).
_BEFORE = (re.compile(r".*## Exception summary\s*", re.S), re.compile(r".*Load model from \S.*? failed:\s*", re.S))
# How pydantic names one of the types that a value may be of.
_TYPE_OF_UNION = re.compile(r"bool|int|float|str|none|[\w-]+\[.*\]", re.S)
_NUMBERED = re.compile(r"^\[ONNXRuntimeError\] : -?\d+ : \w+ : ")
_CLASS = re.compile(r"^<class '[\w.]+'>:\s*")
# Lines that say where to turn to, and not what is wrong.
_ADVICE = re.compile(
    r"create an issue|submit a pr|full stack ?trace|error stack|next steps:|refer to https?://|"
    r"for more information|set TORCH|you can suppress|^\s*from user code|https?://\S+$",
    re.I,
)


class LowzooError(Exception):
    """Something the caller can mend; carries what is wrong and the remedy.

    The command line prints it as one line and exits with its `status`: 2 for misuse.

    Args:
        message: What is wrong and where, without a final full stop.
        remedy: What to do about it, an imperative sentence; may be empty.
    """

    status = 2

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message}. {remedy}" if remedy else message)


class ToldElsewhere(LowzooError):
    """An error of another of several processes, which prints it; this one only ends with its status."""


class LowzooWarning(UserWarning):
    """Something that was decided or left out for the caller, said by `lowzoo.base.notes.say_once`."""


def reason_of(error: BaseException) -> str:
    """What an error of another library says, in one line of at most 200 characters; its type if it says nothing.

    Colours, advice on whom to report to, and what stands before the reason itself are left out.
    """
    text = _COLOURS.sub("", str(error))
    for before in _BEFORE:
        text = before.sub("", text, count=1)
    lines = [line for line in text.splitlines() if line.strip() and not _ADVICE.search(line)]
    # Nothing but advice: the reason is with the error that this one was made from.
    if not lines and error.__cause__ is not None:
        return reason_of(error.__cause__)
    reason = _CLASS.sub("", _NUMBERED.sub("", " ".join(" ".join(lines).split()))).rstrip(_ARROW)
    if len(reason) > _LONGEST:
        reason = f"{reason[: _LONGEST - 3].rstrip()}..."
    return reason or type(error).__name__


def first_misfit(error: "ValidationError") -> tuple[str, str]:
    """Where the first value that does not fit stands (empty for the whole), and why, without pydantic's own prefix.

    A value that may be of several types is refused once for each: then all reasons, and the place without the type.
    """
    found = error.errors()
    place = found[0]["loc"]
    if place and isinstance(place[-1], str) and _TYPE_OF_UNION.fullmatch(place[-1]):
        alike = [each for each in found if each["loc"][:-1] == place[:-1]]
        place, found = place[:-1], alike
    else:
        found = found[:1]
    reasons = [each["msg"].removeprefix("Value error, ") for each in found]
    reasons[1:] = [reason[:1].lower() + reason[1:] for reason in reasons[1:]]
    return ".".join(str(part) for part in place), ", or ".join(reasons)


def near_matches(word: str, names: Iterable[str]) -> str:
    """`` (near: a, b)`` for an error message, empty when nothing is near."""
    near = difflib.get_close_matches(word, list(dict.fromkeys(names)), n=3, cutoff=0.6)
    return f" (near: {', '.join(near)})" if near else ""
