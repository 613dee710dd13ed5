"""A table of `datasets` with a column of boxes, as the Hub's detection sets have it: from a folder or the Hub.

The column `objects` holds `bbox`, (x, y, width, height) in pixels, and `category` (or `categories`, `label`, `labels`);
perhaps `iscrowd` and `area`, as COCO's own do.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.pixels.orientation import upright_size
from lowzoo.data.reading.found import Found
from lowzoo.data.source import ImageSource
from lowzoo.detection.sets.annotated import Annotated, AnnotatedSet, Drafts, is_number

SCHEME = "hf:"
SAVED = "dataset_dict.json"  # what `save_to_disk` leaves
_LABELS = ("category", "categories", "label", "labels")
_BOXES = ("bbox", "boxes")
_CROWDS = ("iscrowd", "is_crowd")
_AREA = "area"


@dataclass(frozen=True, eq=False)
class TableReader:
    """Reads the picture of row i.

    Args:
        rows: A data set whose pictures are not decoded.
        column: Its column of pictures.
        name: What it is called.
    """

    rows: Any
    column: str
    name: str

    def __len__(self) -> int:
        return len(self.rows)

    def encoded(self, index: int) -> bytes:
        """The bytes of a picture."""
        cell = self.rows[int(index)][self.column]
        if cell and cell.get("bytes"):
            return bytes(cell["bytes"])
        try:
            return Path(cell["path"]).read_bytes()
        except (OSError, TypeError, KeyError) as error:
            raise BadImage(self.where(index), "the cell is empty") from error

    def where(self, index: int) -> str:
        """File and row."""
        return f"{self.name}:row {index}"

    def fingerprint(self) -> str:
        """Digest of all pictures."""
        digest = hashlib.sha256()
        for index in range(len(self)):
            digest.update(hashlib.sha256(self.encoded(index)).digest())
        return digest.hexdigest()


def read_table(word: str, wanted: str) -> AnnotatedSet | None:
    """Read one part of a table, "train" or "test"; None where it has no such part.

    Args:
        word: hf:ORG/NAME, or a folder of parquet files or of `save_to_disk`.
        wanted: "train" or "test"; for the latter the split validation where there is one, else test.

    Raises:
        LowzooError: It cannot be had, or holds no boxes.
    """
    parts = _parts(word)
    names = ("train",) if wanted == "train" else ("validation", "valid", "val", "test")
    split = next((name for name in names if name in parts), None)
    if split is None:
        return None
    rows, name = parts[split], f"{word} {split}"
    features = rows.features
    column = next((key for key, kind in features.items() if type(kind).__name__ == "Image"), None)
    if column is None or "objects" not in features:
        lacks = "pictures" if column is None else "objects"
        raise LowzooError(f"{word} has no column of {lacks}; it has {', '.join(features)}", "Name a detection set")
    from datasets import Image as Pictures

    rows = rows.cast_column(column, Pictures(decode=False))
    inside = _inside(features["objects"])
    label = next((key for key in _LABELS if key in inside), None)
    box = next((key for key in _BOXES if key in inside), None)
    if label is None or box is None:
        raise LowzooError(f"objects of {word} has {', '.join(inside)}, and no bbox and category", "Name another set")
    reader, drafts = TableReader(rows, column, name), Drafts()
    objects = rows.select_columns(["objects"])
    held = [objects[i]["objects"] for i in range(len(rows))]
    cells = [_columns(each, box, label) for each in held]
    crowds = next((key for key in _CROWDS if key in inside), None)
    classes = _class_names(inside[label], cells)
    numbers = {value: i + 1 for i, value in enumerate(classes[1])}
    images = []
    for index, (boxes, labels) in enumerate(cells):
        where = reader.where(index)
        given = _boxes(boxes, where)
        if len(given) != len(labels):
            raise LowzooError(f"{where} has {len(given)} boxes and {len(labels)} classes", "Mend the set")
        areas, crowd = given[:, 2] * given[:, 3], np.zeros(len(given), np.bool_)
        if _AREA in inside:
            stated = _columns(held[index], box, _AREA)[1]
            if len(stated) == len(given):
                # Of an object without one that of its box, as where the table has none at all.
                stated = [own if value is None else value for value, own in zip(stated, areas.tolist(), strict=True)]
            areas = np.array([_area(value, where) for value in stated], np.float64)
        if crowds is not None:
            marks = _columns(held[index], box, crowds)[1]
            if odd := [value for value in marks if value not in (0, 1)]:
                raise LowzooError(f"{where} has {crowds} = {odd[0]!r}, which is neither 0 nor 1", "Mend the set")
            crowd = np.array(marks, np.bool_)
        if not len(areas) == len(crowd) == len(given):
            raise LowzooError(
                f"{where} has {len(given)} boxes, {len(areas)} areas and {len(crowd)} crowds", "Mend the set"
            )
        height, width = _size(reader, index)
        corners, left = drafts.clip(given, height, width, where)
        try:
            own = np.array([numbers[value] for value in labels], np.int64)
        except KeyError as error:
            raise LowzooError(f"{where} is of the unknown class {error.args[0]!r}", "Mend the set") from error
        images.append(
            Annotated(
                number=index + 1,
                height=height,
                width=width,
                boxes=corners[left],
                labels=own[left],
                crowd=crowd[left],
                areas=areas[left],
                segments=None,
                given_boxes=given[left],
            )
        )
    drafts.refuse_corners(name)
    return AnnotatedSet(
        name=name,
        source=ImageSource(name, reader, found=Found.of(len(rows))),
        images=tuple(images),
        class_names=classes[0],
        category_ids=tuple(range(1, len(classes[0]) + 1)),
        notes=tuple(drafts.notes()),
    )


def is_table(folder: Path) -> bool:
    """Whether a folder holds parquet files, or what `save_to_disk` wrote."""
    return (folder / SAVED).is_file() or any(folder.rglob("*.parquet"))


def _parts(word: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise LowzooError("tables of boxes need the package datasets", "Run `pip install 'lowzoo[train]'`") from error
    try:
        if not word.startswith(SCHEME) and (Path(word) / SAVED).is_file():
            return datasets.load_from_disk(word)
        return datasets.load_dataset(word.removeprefix(SCHEME))
    except Exception as error:  # datasets raises classes of its own and of everything that it calls
        raise LowzooError(f"{word} cannot be opened ({reason_of(error)})", "Name a set that is there") from error


def _inside(kind: Any) -> dict[str, Any]:
    """Names and types inside the column, a list of structs or a struct of lists."""
    inner = getattr(kind, "feature", kind)
    if isinstance(inner, list):
        inner = inner[0]
    return dict(inner) if isinstance(inner, dict) else {}


def _columns(cell: Any, box: str, label: str) -> tuple[list[Any], list[Any]]:
    if isinstance(cell, list):
        return [each[box] for each in cell], [each[label] for each in cell]
    return list((cell or {}).get(box) or ()), list((cell or {}).get(label) or ())


def _class_names(kind: Any, cells: list[tuple[list[Any], list[Any]]]) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Names of the classes, and the values that stand for them."""
    inner = getattr(kind, "feature", kind)
    if names := getattr(inner, "names", None):
        return tuple(names), tuple(range(len(names)))
    values = sorted({value for _, labels in cells for value in labels})
    return tuple(str(value) for value in values), tuple(values)


def _boxes(boxes: list[Any], where: str) -> Any:
    for box in boxes:
        if len(box) != 4 or not all(map(is_number, box)) or min(box[2:]) < 0:
            raise LowzooError(f"{where} has the box {box!r}, which is not x, y, width and height", "Mend the set")
    return np.array(boxes, np.float64).reshape(-1, 4)


def _area(value: Any, where: str) -> float:
    if not is_number(value) or value < 0:
        raise LowzooError(f"{where} has the area {value!r}", "Mend the set")
    return float(value)


def _size(reader: TableReader, index: int) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(reader.encoded(index))) as image:
            return upright_size(image)
    except BadImage:
        raise
    except Exception as error:  # PIL's plug-ins raise anything on hostile bytes
        raise BadImage(reader.where(index), reason_of(error)) from error
