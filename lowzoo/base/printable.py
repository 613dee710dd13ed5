r"""Text that holds names of files, made fit for text files and terminals.

A file's name is bytes. Where they are no UTF-8, Python carries them in its strings as lone surrogates, which no strict
encoder accepts: a run of hours would end at the line that names its data. So what people read shows such a byte as
`\xe9`, and a character that a terminal cannot show likewise. What programs read back keeps the name itself: JSON by
its own escapes, `config.toml` as the bytes.
"""

import codecs
import sys

_ESCAPE = "lowzoo.escape"


def printable(text: str) -> str:
    r"""The text with each byte that was no UTF-8 as `\xNN`; any other text is unchanged."""
    return text.encode("utf-8", _ESCAPE).decode("utf-8")


def harmless(text: str) -> str:
    """The text of a stranger, fit for a line of a terminal: white space as spaces, the unprintable as U+FFFD.

    What is replaced are controls (an escape sequence sets a terminal's title or clipboard, a line break begins a line
    that looks like lowzoo's own), marks that turn the direction of reading, and characters that are none.
    """
    return "".join(
        character if character.isprintable() else " " if character.isspace() else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def forgiving_streams() -> None:
    """Let this process print any name and any character to its output, whatever the encoding of the terminal."""
    for stream in (sys.stdout, sys.stderr):
        # What stands in for a stream (a test's, a notebook's) may have no encoding at all.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ESCAPE)


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_escaped, error.object[error.start : error.end])), error.end


def _escaped(character: str) -> str:
    byte = ord(character) - 0xDC00
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else character.encode("ascii", "backslashreplace").decode()


codecs.register_error(_ESCAPE, _escape)
