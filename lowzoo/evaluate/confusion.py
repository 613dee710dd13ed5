"""A picture of which classes are taken for which: rows are the truth, columns what was said."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lowzoo.io.marks import save_png

_SIDE, _HEAD, _GAP, _LINE = 900, 26, 8, 14
_INK, _GRID = (30, 30, 30), (225, 225, 225)
_RIGHT, _WRONG = np.array([30, 120, 60]), np.array([190, 40, 30])
_MOST_NAMED, _MOST_PAIRS, _LEAST_CELL_WITH_TEXT = 60, 12, 30


def confusion_matrix(truth: Tensor, predictions: Tensor, classes: int) -> NDArray[np.int64]:
    """Count (C, C): row the truth, column the prediction."""
    counts = torch.bincount(truth * classes + predictions, minlength=classes * classes)
    matrix: NDArray[np.int64] = counts.view(classes, classes).numpy()
    return matrix


def draw(truth: Tensor, predictions: Tensor, names: Sequence[str] | None, path: Path, *, title: str) -> None:
    """Draw the shares of each row, right ones green and wrong ones red, and name the most frequent mistakes.

    A cell that has room for it tells its number of images.

    Args:
        truth: (M,) classes.
        predictions: (M,) classes.
        names: Names of the classes; numbers if None.
        path: The PNG to write.
        title: Line above the picture.
    """
    if names:
        classes, labels = len(names), [name.replace("_", " ") for name in names]
    else:
        ids, both = torch.cat([truth, predictions]).unique(return_inverse=True)
        truth, predictions = both.split(len(truth))
        classes, labels = len(ids), [str(number) for number in ids.tolist()]
    counts = confusion_matrix(truth, predictions, classes)
    font = ImageFont.load_default()
    named = classes <= _MOST_NAMED
    cell = max(1, _SIDE // classes)
    margin = 8 + max(int(font.getlength(label)) for label in labels) if named else _GAP
    foot = (_MOST_PAIRS + 2) * _LINE
    sheet = Image.new("RGB", (margin + cell * classes + _GAP, _HEAD + cell * classes + margin + foot), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, 8), f"{title}; rows: truth, columns: prediction", fill=_INK, font=font)
    tiles = np.repeat(np.repeat(_colours(counts), cell, axis=0), cell, axis=1)
    sheet.paste(Image.fromarray(tiles), (margin, _HEAD))
    pen.rectangle((margin - 1, _HEAD - 1, margin + cell * classes, _HEAD + cell * classes), outline=_GRID)
    if named:
        for i, label in enumerate(labels):
            middle = i * cell + (cell - _LINE) // 2
            pen.text((_GAP // 2, _HEAD + middle), label, fill=_INK, font=font)
            sheet.paste(_upright(label, font, margin), (margin + middle, _HEAD + cell * classes + 2))
    if cell >= _LEAST_CELL_WITH_TEXT:
        for row, column in np.argwhere(counts).tolist():
            centre = margin + (column + 0.5) * cell, _HEAD + (row + 0.5) * cell
            pen.text(centre, str(counts[row, column]), fill=_INK, font=font, anchor="mm")
    top = _HEAD + cell * classes + (margin if named else _GAP)
    pen.text((_GAP, top), "most frequent mistakes:", fill=_INK, font=font)
    for row, (count, true, said) in enumerate(_mistakes(counts)):
        line = f"{count} of {counts[true].sum()} of {labels[true]} taken for {labels[said]}"
        pen.text((_GAP, top + (row + 1) * _LINE), line, fill=_INK, font=font)
    save_png(sheet, path)


def _colours(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """From white to full colour with the root of the share: small shares stay visible."""
    share = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))[:, :, None]
    full = np.where(np.eye(len(counts), dtype=bool)[:, :, None], _RIGHT, _WRONG)
    return np.asarray(255 - share * (255 - full)).round().astype(np.uint8)


def _mistakes(counts: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = [(int(wrong.flat[at]), int(at) // len(wrong), int(at) % len(wrong)) for at in order]
    return [pair for pair in pairs if pair[0]]


def _upright(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, length: int) -> Image.Image:
    strip = Image.new("RGB", (length, _LINE), "white")
    ImageDraw.Draw(strip).text((0, 0), text, fill=_INK, font=font)
    return strip.rotate(-90, expand=True)
