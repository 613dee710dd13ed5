"""What a notebook shows of a result: text as a block, a table, pictures inline."""

import base64
import tempfile
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path


def block(lines: Iterable[str]) -> str:
    """Lines as they stand on a terminal."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; every cell is text."""

    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{row(head, 'th')}{''.join(row(cells, 'td') for cells in rows)}</table>"


def picture(draw: Callable[[Path], object], description: str) -> str:
    """What a function draws into a PNG file, inline.

    Args:
        draw: Writes a PNG to a path.
        description: What stands for the picture where it is not shown.
    """
    with tempfile.TemporaryDirectory(prefix="lowzoo-") as folder:
        file = Path(folder) / "picture.png"
        draw(file)
        content = base64.b64encode(file.read_bytes()).decode()
    return f'<img src="data:image/png;base64,{content}" alt="{escape(description, quote=True)}"/>'
