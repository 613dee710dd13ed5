"""A picture of what a network finds alike: queries on the left, their nearest neighbours beside them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lowzoo.data.source import ImageSource
from lowzoo.features.features import Features
from lowzoo.features.votes import nearest_neighbours
from lowzoo.io.marks import save_png

_CELL, _FRAME, _TEXT, _GAP, _HEAD = 96, 3, 14, 6, 22
_SAME, _OTHER, _QUERY, _INK = (30, 150, 60), (205, 45, 40), (70, 70, 70), (30, 30, 30)


def draw_neighbours(
    bank: ImageSource,
    bank_features: Features,
    queries: ImageSource,
    query_features: Features,
    path: Path,
    *,
    title: str,
    columns: int = 8,
    most_rows: int = 12,
) -> None:
    """Draw some queries and their nearest neighbours: one query of each class, or without labels evenly spaced ones.

    Neighbours are framed green where the class is the same, else red; without labels grey.

    Args:
        bank: Images to search.
        bank_features: Their features; those of the queries themselves find an image's neighbours in its own set.
        queries: Images to search for.
        query_features: Their features.
        path: The PNG to write.
        title: Line above the picture.
        columns: Neighbours a query.
        most_rows: Queries at most.
    """
    labels = query_features.labels.tolist()
    rows = one_of_each_class(labels) if min(labels) >= 0 else list(range(len(labels)))
    rows = [rows[i] for i in np.linspace(0, len(rows) - 1, min(most_rows, len(rows))).astype(int).tolist()]
    itself = bank_features is query_features
    columns = max(1, min(columns, len(bank_features.x) - itself))
    found = nearest_neighbours(bank_features.x, query_features.x[rows], min(columns + itself, len(bank_features.x)))
    width = _GAP + (columns + 1) * (_outer() + _GAP) + _GAP
    sheet = Image.new("RGB", (width, _HEAD + len(rows) * (_outer() + _TEXT + _GAP) + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default()
    pen.text((_GAP, 6), title, fill=_INK, font=font)
    for y, row in enumerate(rows):
        top = _HEAD + y * (_outer() + _TEXT + _GAP)
        label = int(query_features.labels[row])
        cells = [(queries, int(query_features.kept[row]), _QUERY, f"query: {_name(queries, label)}")]
        pairs = zip(found[0][y].tolist(), found[1][y].tolist(), strict=True)
        for value, position in [pair for pair in pairs if not (itself and pair[1] == row)][:columns]:
            other = int(bank_features.labels[position])
            colour = _QUERY if label < 0 or other < 0 else _SAME if other == label else _OTHER
            cells.append((bank, int(bank_features.kept[position]), colour, f"{_name(bank, other)} {value:.2f}"))
        for x, (source, index, colour, text) in enumerate(cells):
            # A wider gap sets the query apart.
            left = _GAP + x * (_outer() + _GAP) + (_GAP if x else 0)
            pen.rectangle((left, top, left + _outer() - 1, top + _outer() - 1), fill=colour)
            sheet.paste(_thumbnail(source, index), (left + _FRAME, top + _FRAME))
            pen.text((left, top + _outer() + 1), _fit(pen, font, text.strip()), fill=colour, font=font)
    save_png(sheet, path)


def one_of_each_class(labels: Sequence[int]) -> list[int]:
    """Pick the middle position of each class, in the order of classes."""
    numbers = np.asarray(labels)
    picked = []
    for label in np.unique(numbers):
        positions = np.flatnonzero(numbers == label)
        picked.append(int(positions[len(positions) // 2]))
    return picked


def _outer() -> int:
    return _CELL + 2 * _FRAME


def _thumbnail(source: ImageSource, index: int) -> Image.Image:
    image = Image.fromarray(source.pixels(index))
    image.thumbnail((_CELL, _CELL), Image.Resampling.LANCZOS)
    cell = Image.new("RGB", (_CELL, _CELL), "white")
    cell.paste(image, ((_CELL - image.width) // 2, (_CELL - image.height) // 2))
    return cell


def _name(source: ImageSource, label: int) -> str:
    if label < 0:
        return ""
    return source.class_names[label].replace("_", " ") if source.class_names else f"class {label}"


def _fit(pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, text: str) -> str:
    while len(text) > 1 and pen.textlength(text, font=font) > _outer():
        text = text[:-1]
    return text
