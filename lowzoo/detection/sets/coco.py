"""COCO's layout: a JSON file of images, annotations and categories, and a folder of images."""

import json
import os
import reprlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.data.reading.found import Found, some_of
from lowzoo.data.source import ImageSource
from lowzoo.data.stores.folder import FolderReader
from lowzoo.detection.sets import masks
from lowzoo.detection.sets.agreement import refuse_other_sizes, stored_size
from lowzoo.detection.sets.annotated import Annotated, AnnotatedSet, Drafts, is_number

_PARTS = ("images", "annotations", "categories")


def read_coco(file: Path, images: Path | None = None, *, with_masks: bool) -> AnnotatedSet:
    """Read an annotation file, and refuse one that does not say what it should.

    Args:
        file: The JSON.
        images: Folder of its images; found by its name if None.
        with_masks: Whether masks are wanted; without, they are not looked at.

    Raises:
        LowzooError: What is wrong with the file, or an image that is missing; the first of them, and how many.
    """
    content = _content(file)
    categories = _categories(content["categories"], file)
    entries = _entries(content["images"], file)
    folder = images or find_images(file, next(iter(entries.values()))["file_name"])
    _require_images(folder, [entry["file_name"] for entry in entries.values()], file)
    drafts, own = Drafts(), dict[int, list[dict[str, Any]]]()
    seen = set[Any]()
    for place, annotation in enumerate(content["annotations"]):
        given = annotation.get("id", place) if isinstance(annotation, Mapping) else place
        where = f"annotation {given if isinstance(given, int | str) else place} of {file}"
        if not isinstance(annotation, Mapping):
            raise _fault(where, f"is a {type(annotation).__name__}")
        number = annotation.get("id")
        for key in ("id", "image_id", "category_id"):
            if isinstance(annotation.get(key), list | dict):
                raise _fault(where, f"has {key} = {annotation[key]!r}")
        if number is not None and number in seen:
            raise _fault(where, "has the id of another one")
        seen.add(number)
        if annotation.get("image_id") not in entries:
            raise _fault(where, f"belongs to image {annotation.get('image_id')!r}, which the file does not list")
        if annotation.get("category_id") not in categories:
            raise _fault(where, f"is of category {annotation.get('category_id')!r}, which the file does not list")
        if reason := _fault_of_box(annotation.get("bbox")):
            raise _fault(where, f"has {reason}")
        if annotation.get("iscrowd", 0) not in (0, 1):
            raise _fault(where, f"has iscrowd = {annotation['iscrowd']!r}")
        area = annotation.get("area")
        if area is not None and not (is_number(area) and area >= 0):
            # Counted as it stands, such an object would belong to every size, or to none.
            raise _fault(where, f"has area = {reprlib.repr(area)}")
        own.setdefault(annotation["image_id"], []).append({**annotation, "where": where})
    number_of = {category: i + 1 for i, category in enumerate(categories)}
    found = [
        _annotated(entry, own.get(number, []), number_of, folder, drafts, with_masks=with_masks)
        for number, entry in entries.items()
    ]
    drafts.refuse_corners(f"{file}")
    names = [entry["file_name"] for entry in entries.values()]
    source = ImageSource(file.stem, FolderReader.of(folder, names), found=Found.of(len(names)))
    refuse_other_sizes(f"{file}", source, [(each.height, each.width) for each in found])
    return AnnotatedSet(
        name=file.stem,
        source=source,
        images=tuple(found),
        class_names=tuple(categories.values()),
        category_ids=tuple(categories),
        notes=tuple(drafts.notes()),
    )


def find_images(file: Path, first: str) -> Path:
    """The folder of an annotation file's images, by where its first image lies.

    Raises:
        LowzooError: In none of the usual places.
    """
    stem = file.stem.removeprefix("instances_").removesuffix(".coco").strip("_")
    roots = [file.parent, file.parent.parent]
    places = [root / part for root in roots for part in (stem, f"images/{stem}", "images", "JPEGImages", ".")]
    for place in places:
        if (place / first).is_file():
            return place
    tried = ", ".join(str(place) for place in dict.fromkeys(places))
    raise LowzooError(
        f"{first}, the first image of {file}, lies in none of {tried}", "Put the images there, or name --images"
    )


def _content(file: Path) -> dict[str, Any]:
    try:
        text = file.read_bytes()
        content = json.loads(text)
    except OSError as error:
        raise LowzooError(f"{file} cannot be read ({error.strerror})", "Name an annotation file") from error
    except (ValueError, RecursionError) as error:
        what = "is empty" if not text.strip() else f"is no JSON, or cut short ({reason_of(error)})"
        raise LowzooError(f"{file} {what}", "Get the file again") from error
    if not isinstance(content, dict) or (missing := [part for part in _PARTS if part not in content]):
        lacks = f"it holds no {', no '.join(missing)}" if isinstance(content, dict) else "it holds no object"
        raise LowzooError(f"{file} is no annotation file of COCO: {lacks}", "Name one such as instances_train2017.json")
    for part in _PARTS:
        if not isinstance(content[part], list):
            raise LowzooError(f"{part} of {file} is a {type(content[part]).__name__}, and no list", "Mend the file")
    if not content["images"]:
        raise LowzooError(f"{file} lists no images", "Name another annotation file")
    return content


def _categories(given: list[Any], file: Path) -> dict[int, str]:
    found: dict[int, str] = {}
    for place, each in enumerate(given):
        where = f"category {place} of {file}"
        if (
            not isinstance(each, Mapping)
            or not isinstance(each.get("id"), int)
            or not isinstance(each.get("name"), str)
        ):
            raise _fault(where, "has no id or no name")
        if each["id"] in found or each["name"] in found.values():
            raise _fault(where, f"has the id or the name of another one ({each['id']}, {each['name']})")
        found[each["id"]] = each["name"]
    if not found:
        raise LowzooError(f"{file} lists no categories", "Name another annotation file")
    return dict(sorted(found.items()))


def _entries(given: list[Any], file: Path) -> dict[Any, Mapping[str, Any]]:
    found: dict[Any, Mapping[str, Any]] = {}
    for place, each in enumerate(given):
        where = f"image {place} of {file}"
        if not isinstance(each, Mapping) or not isinstance(each.get("file_name"), str) or not each["file_name"]:
            raise _fault(where, "has no file_name")
        number = each.get("id")
        if not isinstance(number, int):
            raise _fault(where, f"has the id {number!r}, and no number")
        if number in found:
            raise _fault(where, f"has the id of another one ({number})")
        for side in ("width", "height"):
            if side in each and (not isinstance(each[side], int) or each[side] < 1):
                raise _fault(where, f"has {side} = {each[side]!r}")
        found[number] = each
    repeated = [name for name, count in Counter(e["file_name"] for e in found.values()).items() if count > 1]
    if repeated:
        raise LowzooError(f"{file} lists {len(repeated)} images twice: {some_of(repeated)}", "Mend the file")
    return found


def _require_images(folder: Path, names: list[str], file: Path) -> None:
    listed: dict[str, set[str]] = {}

    def there(name: str) -> bool:
        inside, _, own = name.rpartition("/")
        if inside not in listed:
            try:
                listed[inside] = set(os.listdir(folder / inside))
            except OSError:
                listed[inside] = set()
        return own in listed[inside]

    if missing := [name for name in names if not there(name)]:
        raise LowzooError(
            f"{len(missing)} of the {len(names)} images of {file} are not in {folder}: {some_of(missing)}",
            "Get the images again; perhaps the download is not complete",
        )


def _fault_of_box(box: Any) -> str:
    if not isinstance(box, list | tuple) or len(box) != 4:
        return f"the box {reprlib.repr(box)}, which is not four numbers"
    if not all(map(is_number, box)):
        return f"the box {reprlib.repr(box)}, which is not four numbers"
    return f"the box {box!r} of negative size" if box[2] < 0 or box[3] < 0 else ""


def _annotated(
    entry: Mapping[str, Any],
    own: list[dict[str, Any]],
    number_of: Mapping[int, int],
    folder: Path,
    drafts: Drafts,
    *,
    with_masks: bool,
) -> Annotated:
    if "width" in entry and "height" in entry:
        height, width = entry["height"], entry["width"]
    else:
        height, width = stored_size(folder / entry["file_name"])
    given = np.array([each["bbox"] for each in own], np.float64).reshape(-1, 4)
    corners, left = drafts.clip(given, height, width, entry["file_name"])
    kept = [each for each, stays in zip(own, left, strict=True) if stays]
    segments: tuple[Any, ...] | None = None
    if with_masks:
        for each in kept:
            if reason := masks.fault_of(each.get("segmentation"), height, width):
                raise _fault(each["where"], f"has {reason}")
        segments = tuple(each["segmentation"] for each in kept)
    areas = [
        float(each["area"])
        if each.get("area") is not None
        else masks.area(each["segmentation"], height, width)
        if with_masks
        else float(each["bbox"][2] * each["bbox"][3])
        for each in kept
    ]
    return Annotated(
        number=entry["id"],
        height=height,
        width=width,
        boxes=corners[left],
        labels=np.array([number_of[each["category_id"]] for each in kept], np.int64),
        crowd=np.array([each.get("iscrowd", 0) == 1 for each in kept], np.bool_),
        areas=np.array(areas, np.float64),
        segments=segments,
        given_boxes=given[left],
    )


def _fault(where: str, reason: str) -> LowzooError:
    return LowzooError(f"{where} {reason}", "Mend the file")
