"""PASCAL VOC's layout: an XML file an image, lists of names by split, boxes only.

Boxes are written from 1 on with both ends inside; they become corners from 0 on. Objects that are marked difficult are
trained on, and count in the score neither way, as in VOC's own.
"""

import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.data.reading.found import Found, some_of
from lowzoo.data.source import ImageSource
from lowzoo.data.stores.folder import FolderReader
from lowzoo.detection.sets.agreement import refuse_other_sizes
from lowzoo.detection.sets.annotated import Annotated, AnnotatedSet, Drafts
from lowzoo.io.text_file import read_lines

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
# VOC's own are .jpg; sets that follow its layout keep others there, too.
_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".bmp", ".webp")
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def voc_roots(folder: Path) -> list[Path]:
    """The sets in a folder: itself, or its VOC2007 and VOC2012; none where it has another layout."""
    for root in (folder, folder / "VOCdevkit"):
        found = [root] if _is_voc(root) else [place for place in sorted(root.glob("VOC20*")) if _is_voc(place)]
        if found:
            return found
    return []


def read_voc(folder: Path, split: str) -> AnnotatedSet:
    """Read one part of a set, "train" or "test".

    For training `trainval` where there is one and something else to test on, of every year; for testing `test`, else
    `val`.

    Raises:
        LowzooError: No such part, or a file that is missing or damaged, by name.
    """
    roots = voc_roots(folder)
    held = {root: {path.stem for path in (root / "ImageSets" / "Main").glob("*.txt")} for root in roots}
    tested = any("test" in names for names in held.values())
    wanted = {"train": ("trainval", "train") if tested else ("train",), "test": ("test",) if tested else ("val",)}[
        split
    ]
    names: list[tuple[Path, str]] = []
    for root in roots:
        part = next((word for word in wanted if word in held[root]), None)
        if part is not None:
            listed = read_lines(root / "ImageSets" / "Main" / f"{part}.txt", "a list of pictures", "Get the set again")
            names += [(root, line.text.split()[0]) for line in listed]
    if not names:
        raise LowzooError(f"{folder} has no list {' or '.join(wanted)} in ImageSets/Main", "Get the set again")
    described = _require([(root / "Annotations", name) for root, name in names], (".xml",), folder)
    files = _require([(root / "JPEGImages", name) for root, name in names], _SUFFIXES, folder)
    drafts = Drafts()
    classes = _classes(roots)
    images = [_annotated(path, number + 1, classes, drafts) for number, path in enumerate(described)]
    title = f"{folder.name} {split}"
    notes = drafts.notes()
    if difficult := sum(int(each.crowd.sum()) for each in images):
        notes.append(f"{difficult} objects marked difficult are trained on, and count in the score neither way")
    source = ImageSource(
        title, FolderReader.of(folder, [str(path.relative_to(folder)) for path in files]), found=Found.of(len(files))
    )
    refuse_other_sizes(title, source, [(each.height, each.width) for each in images])
    return AnnotatedSet(
        name=title,
        source=source,
        images=tuple(images),
        class_names=classes,
        category_ids=tuple(range(1, len(classes) + 1)),
        notes=tuple(notes),
    )


def _require(wanted: list[tuple[Path, str]], suffixes: tuple[str, ...], folder: Path) -> list[Path]:
    """The file of each name in its folder, with the first of the suffixes that there is one with."""
    listed = {place: {path.name for path in place.glob("*")} for place in {place for place, _ in wanted}}
    found, missing = list[Path](), list[str]()
    for place, name in wanted:
        own = next((f"{name}{suffix}" for suffix in suffixes if f"{name}{suffix}" in listed[place]), None)
        if own is None:
            missing.append(f"{name}{suffixes[0]}")
        else:
            found.append(place / own)
    if missing:
        others = f", nor with {', '.join(suffixes[1:3])}" if len(suffixes) > 1 else ""
        raise LowzooError(
            f"{len(missing)} of the {len(wanted)} files in {wanted[0][0].name} of {folder} are not there: "
            f"{some_of(missing)}{others}",
            "Get the set again; perhaps the download is not complete",
        )
    return found


def _is_voc(root: Path) -> bool:
    return (root / "Annotations").is_dir() and (root / "ImageSets" / "Main").is_dir()


def _classes(roots: list[Path]) -> tuple[str, ...]:
    """VOC's own classes, or those of a set of this layout, all its files read."""
    found: set[str] = set()
    for root in roots:
        for path in sorted((root / "Annotations").glob("*.xml")):
            found |= {name for each in _parsed(path).iter("object") if (name := _text(each, "name", path))}
    return CLASSES if found and found <= {*CLASSES} else tuple(sorted(found))


def _parsed(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        what = "is empty" if path.is_file() and not path.stat().st_size else f"is no XML ({reason_of(error)})"
        raise LowzooError(f"{path} {what}", "Get the file again") from error


def _text(element: ElementTree.Element, name: str, path: Path) -> str:
    found = element.find(name)
    if found is None or not (found.text or "").strip():
        raise LowzooError(f"{path} has an {element.tag} without {name}", "Mend the file")
    return str(found.text).strip()


def _number(element: ElementTree.Element, name: str, path: Path) -> float:
    text = _text(element, name, path)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LowzooError(f"{path} has {name} = {text!r}, which is no number", "Mend the file")
    return value


def _annotated(path: Path, number: int, classes: tuple[str, ...], drafts: Drafts) -> Annotated:
    root = _parsed(path)
    size = root.find("size")
    if size is None:
        raise LowzooError(f"{path} does not say the size of its image", "Mend the file")
    height, width = (int(_number(size, side, path)) for side in ("height", "width"))
    if height < 1 or width < 1:
        raise LowzooError(f"{path} says that its image is {width} x {height} pixels", "Mend the file")
    given, labels, hard = [], [], []
    for each in root.iter("object"):
        box = each.find("bndbox")
        if box is None:
            raise LowzooError(f"{path} has an object without bndbox", "Mend the file")
        left, top, right, bottom = (_number(box, side, path) for side in _SIDES)
        if right < left or bottom < top:
            raise LowzooError(
                f"{path} has a box of negative size ({left:g}, {top:g}, {right:g}, {bottom:g})", "Mend it"
            )
        given.append((left - 1, top - 1, right - left + 1, bottom - top + 1))
        labels.append(classes.index(_text(each, "name", path)) + 1)
        hard.append((each.findtext("difficult") or "0").strip() == "1")
    boxes = np.array(given, np.float64).reshape(-1, 4)
    corners, kept = drafts.clip(boxes, height, width, path.name)
    return Annotated(
        number=number,
        height=height,
        width=width,
        boxes=corners[kept],
        labels=np.array(labels, np.int64)[kept],
        crowd=np.array(hard, np.bool_)[kept],
        areas=boxes[kept, 2] * boxes[kept, 3],
        segments=None,
        given_boxes=boxes[kept],
        trained_on=np.ones(int(kept.sum()), np.bool_),
    )
