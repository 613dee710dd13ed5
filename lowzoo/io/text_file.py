"""Text files that people write: whatever their editor put around the words is taken off, in one place.

Editors on Windows mark a file with a byte-order mark, end lines with CR LF and save "Unicode" as UTF-16. All of that is
read; bytes that are no text of these encodings are refused by line, as a guess at a code page would put wrong letters
into names.
"""

import codecs
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lowzoo.base.errors import LowzooError

_MARKS = (
    # UTF-32's mark of little-endian files begins with UTF-16's, so it is looked for first.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MARK = "\ufeff"


class Line(NamedTuple):
    """A line that says something.

    Args:
        number: Counted from 1, blank lines included, as editors do.
        text: Without blanks at either end.
    """

    number: int
    text: str


def decode_text(data: bytes, where: str, errors: str = "strict") -> str:
    r"""Give the text of a file's bytes, its lines ended by \n alone.

    Args:
        data: UTF-8, UTF-16 or UTF-32; with or without a byte-order mark for the first two.
        where: The file's name for the error message.
        errors: "surrogateescape" keeps bytes that are no UTF-8, as names of files may hold them.

    Raises:
        LowzooError: Bytes of another encoding, or of no text.
    """
    mark, encoding = next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", _unmarked(data)))
    try:
        text = data[len(mark) :].decode(encoding, errors if encoding == "utf-8" else "strict")
    except UnicodeDecodeError as error:
        before = data[len(mark) : len(mark) + error.start].decode(encoding, "replace")
        byte = f"byte 0x{error.object[error.start]:02x}"
        raise LowzooError(
            f"line {_line_of(before)} of {where} is no text in UTF-8 or UTF-16 ({byte})",
            "Save it as UTF-8",
        ) from error
    text = io.StringIO(text, newline=None).read()
    if "\0" in text:
        raise LowzooError(
            f"line {_line_of(text.partition(chr(0))[0])} of {where} holds a zero byte, which no text has",
            "Save it as UTF-8",
        )
    return text


def read_text(path: Path, what: str, remedy: str, errors: str = "strict") -> str:
    """Read a text file.

    Args:
        path: Path of the file.
        what: What it is to hold, for the error message, e.g. "a list of classes".
        remedy: What to do if there is no such file.
        errors: See `decode_text`.

    Raises:
        LowzooError: It cannot be read, or is no text.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise LowzooError(f"cannot read {path} as {what}: {error.strerror or error}", remedy) from error
    return decode_text(data, str(path), errors)


def read_lines(path: Path, what: str, remedy: str, *, comment: str | None = None) -> list[Line]:
    """Read the lines of a text file that are not blank.

    Args:
        path: Path of the file.
        what: What it is to hold, for the error message.
        remedy: What to do if there is no such file.
        comment: Lines that begin with it are left out.

    Raises:
        LowzooError: It cannot be read, or is no text.
    """
    return lines_of(read_text(path, what, remedy), comment=comment)


def lines_of(text: str, *, comment: str | None = None) -> list[Line]:
    r"""Give the lines of a text that are not blank.

    Only \n ends a line: `str.splitlines` also splits at characters that stand within names.
    """
    # A mark within the file is one of several files that were put together.
    lines = (Line(number, line.replace(_MARK, "").strip()) for number, line in enumerate(text.split("\n"), 1))
    return [line for line in lines if line.text and not (comment and line.text.startswith(comment))]


def distinct(lines: Iterable[Line], where: str, remedy: str) -> tuple[str, ...]:
    """Give the texts of lines of which no two are alike.

    Raises:
        LowzooError: Two are alike; it names the first pair by text and line numbers, and how many more there are.
    """
    first: dict[str, int] = {}
    again: list[Line] = []
    for line in lines:
        if line.text in first:
            again.append(line)
        first.setdefault(line.text, line.number)
    if again:
        text, more = again[0].text, f", and {len(again) - 1} more lines repeat one" if len(again) > 1 else ""
        raise LowzooError(
            f"{where} has {text!r} twice, on lines {first[text]} and {again[0].number}{more}",
            remedy,
        )
    return tuple(first)


def _unmarked(data: bytes) -> str:
    """UTF-16 shows by its zero bytes, which UTF-8 never has: each line's end has one, and always on the same side."""
    low, high = data[0::2].count(0), data[1::2].count(0)
    if high and not low:
        return "utf-16-le"
    return "utf-16-be" if low and not high else "utf-8"


def _line_of(before: str) -> int:
    return io.StringIO(before, newline=None).read().count("\n") + 1
