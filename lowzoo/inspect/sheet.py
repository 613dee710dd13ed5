"""The same pictures as the page shows, as one PNG."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from lowzoo.base.printable import printable
from lowzoo.inspect.shown import SIDE, Shown, Tile
from lowzoo.io.marks import save_png

_COLUMNS, _FRAME, _GAP, _LINE = 12, 3, 8, 14
_INK, _QUIET, _PROBLEM, _EMPTY = (30, 30, 30), (120, 125, 135), (205, 45, 40), (238, 240, 243)
_CELL = SIDE + 2 * _FRAME
_HEIGHT = _CELL + 2 * _LINE + _GAP


def draw_sheet(shown: Shown, path: Path) -> None:
    """Draw it.

    Args:
        shown: What to draw.
        path: The PNG to write.
    """
    parts = [(section.title, section.remark, _lines(section.rows)) for section in shown.sections]
    height = _GAP + sum(2 * _LINE + _GAP + len(lines) * _HEIGHT for _, _, lines in parts)
    sheet = Image.new("RGB", (_GAP + _COLUMNS * (_CELL + _GAP), height), "white")
    pen, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(), _GAP
    for title, remark, lines in parts:
        pen.text((_GAP, top), f"{_drawable(title)}{f' ({remark})' if remark else ''}", fill=_INK, font=font)
        top += 2 * _LINE
        for line in lines:
            for column, tile in enumerate(line):
                _draw_tile(sheet, pen, font, shown, tile, _GAP + column * (_CELL + _GAP), top)
            top += _HEIGHT
        top += _GAP
    save_png(sheet, path)


def _lines(rows: tuple[tuple[Tile, ...], ...]) -> list[list[Tile]]:
    """Groups side by side where they fit; one that is too wide for a line goes on in the next."""
    lines: list[list[Tile]] = [[]]
    for row in rows:
        if lines[-1] and len(lines[-1]) + len(row) > _COLUMNS:
            lines.append([])
        for tile in row:
            if len(lines[-1]) == _COLUMNS:
                lines.append([])
            lines[-1].append(tile)
    return [line for line in lines if line]


def _draw_tile(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    shown: Shown,
    tile: Tile,
    left: int,
    top: int,
) -> None:
    pen.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), fill=_PROBLEM if tile.problem else _EMPTY)
    pen.rectangle((left + _FRAME, top + _FRAME, left + _FRAME + SIDE - 1, top + _FRAME + SIDE - 1), fill=_EMPTY)
    image = shown.image(tile)
    if image is None:
        pen.text((left + _CELL // 2, top + _CELL // 2), "unreadable", fill=_PROBLEM, font=font, anchor="mm")
    else:
        sheet.paste(image, (left + (_CELL - image.width) // 2, top + (_CELL - image.height) // 2))
    text, lines = _drawable(tile.caption), 2
    for line in range(lines):
        cut = text
        while len(cut) > 1 and pen.textlength(cut, font=font) > _CELL:
            cut = cut[:-1]
        pen.text((left, top + _CELL + line * _LINE), cut, fill=_PROBLEM if tile.problem else _QUIET, font=font)
        text = text[len(cut) :]


def _drawable(text: str) -> str:
    """One line in letters that every font of Pillow has."""
    return " ".join(printable(text).split()).encode("latin-1", "replace").decode("latin-1")
