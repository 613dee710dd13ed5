"""Text, CSV and TSV files with a picture a line: its path, and perhaps its class and its split."""

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path

from lowzoo.base.errors import LowzooError
from lowzoo.data.labels.columns import LABEL_NAMES, PATH_NAMES, SPLIT_NAMES, pick_label_column
from lowzoo.data.labels.split_names import split_of_word
from lowzoo.data.pixels.formats import is_picture_name
from lowzoo.io.text_file import lines_of, read_text

TABLE_SUFFIXES = (".csv", ".tsv")
LIST_SUFFIXES = (".txt", ".list", ".lst")
_REMEDY = "Name a text file with a path a line, or a CSV file with a column of paths"
_HEAD = 50


@dataclass(slots=True)
class Rows:
    """N lines of a list.

    Args:
        paths: As they are written.
        classes: Class of each picture, empty for none; None where the list has no classes.
        splits: Split of each picture, `train`, `validation` or `test`, empty for none; None where there are no splits.
        notes: What was taken for what.
    """

    paths: list[str] = field(default_factory=list)
    classes: list[str] | None = None
    splits: list[str] | None = None
    notes: list[str] = field(default_factory=list)


def read_rows(path: Path, image_column: str | None = None, label_column: str | None = None) -> Rows:
    """Read a list.

    A text file has a path a line, or a path and a class behind a blank, a tab or a comma. A table has named columns, or
    paths and classes in its first two.

    Args:
        path: Path of the list.
        image_column: Name of the column with the paths; found where None.
        label_column: Name of the column with the classes; found where None.

    Raises:
        LowzooError: It cannot be read, is empty, or has no such column.
    """
    text = read_text(path, "a list of pictures", _REMEDY)
    if path.suffix.lower() in TABLE_SUFFIXES:
        rows = _table(path, text, image_column, label_column)
    elif image_column or label_column:
        raise LowzooError(f"{path} is plain text, which has no columns", "Leave out the column, or name a CSV file")
    else:
        rows = _lines(text)
    if not rows.paths:
        raise LowzooError(f"{path} names no picture", _REMEDY)
    return rows


def _lines(text: str) -> Rows:
    lines = [line.text for line in lines_of(text, comment="#")]
    if lines and re.split(r"[\t,; ]", lines[0])[0].lower() in PATH_NAMES:
        lines = lines[1:]  # a header
    pairs = [_path_and_class(line) for line in lines]
    classes = [label for _, label in pairs]
    return Rows([name for name, _ in pairs], classes if any(classes) else None)


def _path_and_class(line: str) -> tuple[str, str]:
    """What ends like a picture is all path, with its blanks and commas; a class stands behind such an end."""
    if is_picture_name(_bare(line)):
        return _bare(line), ""
    for end in re.finditer(r"\s*[\t,;]\s*|\s+", line):
        path = _bare(line[: end.start()])
        if is_picture_name(path) or "\t" in end[0]:
            return path, _bare(line[end.end() :])
    return _bare(line), ""


def _bare(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _table(path: Path, text: str, image_column: str | None, label_column: str | None) -> Rows:
    lines = [[cell.strip() for cell in line] for line in _parsed(path, text)]
    lines = [line for line in lines if any(line)]
    if not lines:
        return Rows()
    width = max(map(len, lines))
    lines = [line + [""] * (width - len(line)) for line in lines]
    header = lines[0] if _is_header(lines, image_column, label_column) else None
    if header is None and (image_column or label_column):
        wanted = image_column or label_column
        raise LowzooError(
            f"{path} has no column {wanted!r}, as its first line is {','.join(lines[0])!r}", "Give it a line of names"
        )
    body = lines[1:] if header is not None else lines
    names = header if header is not None else [f"column {i + 1}" for i in range(width)]
    at = _path_column(path, names, body, image_column)
    rows = Rows([line[at] for line in body])
    if header is not None and names[at].lower() not in PATH_NAMES and image_column is None:
        rows.notes.append(f"{path.name}: paths are taken from the column {names[at]!r}")
    if header is None:
        others = [i for i in range(width) if i != at]
        if len(others) == 1:
            rows.classes = [line[others[0]] for line in body]
        elif others:
            rows.notes.append(f"{path.name} has {width} columns without names, so none is taken for classes")
    else:
        label, said = pick_label_column(str(path), [name for i, name in enumerate(names) if i != at], label_column)
        rows.notes += said
        if label is not None:
            rows.classes = [line[names.index(label)] for line in body]
        _split_column(path, rows, names, body)
    return rows


def _parsed(path: Path, text: str) -> list[list[str]]:
    first = text.split("\n", 1)[0]
    separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise LowzooError(f"cannot read {path} as a table: {error}", "Save it as CSV anew") from error


def _is_header(lines: list[list[str]], image_column: str | None, label_column: str | None) -> bool:
    first = lines[0]
    if any(is_picture_name(cell) for cell in first):
        return False
    if image_column in first or label_column in first:
        return True
    known = PATH_NAMES | set(LABEL_NAMES) | SPLIT_NAMES
    if any(cell.lower() in known for cell in first):
        return True
    return any(is_picture_name(cell) for line in lines[1:_HEAD] for cell in line)


def _path_column(path: Path, names: list[str], body: list[list[str]], wanted: str | None) -> int:
    if wanted is not None:
        if wanted not in names:
            raise LowzooError(f"{path} has no column {wanted!r}, only: {', '.join(names)}", "Choose one of these")
        return names.index(wanted)
    pictures = [i for i in range(len(names)) if any(is_picture_name(line[i]) for line in body[:_HEAD])]
    known = [i for i, name in enumerate(names) if name.lower() in PATH_NAMES]
    choices = [i for i in known if i in pictures] or pictures or known
    if len(choices) > 1:
        if not known and all(name.startswith("column ") for name in names):
            return choices[0]
        raise LowzooError(
            f"several columns of {path} hold paths: {', '.join(names[i] for i in choices)}",
            "Choose one by --image-column",
        )
    if not choices:
        if len(names) <= 2 and all(name.startswith("column ") for name in names):
            return 0
        raise LowzooError(
            f"no column of {path} holds paths of pictures, only: {', '.join(names)}", "Choose one by --image-column"
        )
    return choices[0]


def _split_column(path: Path, rows: Rows, names: list[str], body: list[list[str]]) -> None:
    columns = [i for i, name in enumerate(names) if name.lower() in SPLIT_NAMES]
    for i in columns:
        splits = [split_of_word(line[i]) if line[i] else "" for line in body]
        if all(split is not None for split in splits) and any(splits):
            rows.splits = [split or "" for split in splits]
            rows.notes.append(f"{path.name}: splits are taken from the column {names[i]!r}")
            return
    if columns:
        rows.notes.append(
            f"{path.name}: the column {names[columns[0]]!r} names other things than splits and is left out"
        )
