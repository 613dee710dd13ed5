"""A picture of detections over the truth: what was annotated in white, what was found in the colour of its class."""

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lowzoo.data.pixels.decode import BadImage
from lowzoo.detection.sets import masks
from lowzoo.detection.sets.annotated import AnnotatedSet
from lowzoo.detection.sets.batches import read_pixels, resized
from lowzoo.io.marks import save_png

_SIDE, _GAP, _HEAD, _COLUMNS, _MOST = 320, 8, 26, 4, 8
_INK, _TRUTH = (30, 30, 30), (255, 255, 255)
_LEAST_SCORE = 0.5


def draw_detections(
    data: AnnotatedSet, found: Sequence[Mapping[str, Any]], path: Path, title: str, *, least_score: float = _LEAST_SCORE
) -> None:
    """Draw some images with what was annotated and found in them.

    Args:
        data: The set.
        found: Detections in COCO's form, of all images.
        path: The PNG to write.
        title: Line above the picture.
        least_score: Detections below it are left out.
    """
    of_image: dict[int, list[Mapping[str, Any]]] = {}
    for each in found:
        if each["score"] >= least_score:
            of_image.setdefault(each["image_id"], []).append(each)
    shown = [i for i, each in enumerate(data.images) if len(each.labels)][:_MOST]
    cells = [cell for i in shown if (cell := _cell(data, i, of_image.get(data.images[i].number, []))) is not None]
    columns = max(1, min(_COLUMNS, len(cells)))
    rows = max(1, -(-len(cells) // columns))
    size = (columns * (_SIDE + _GAP) + _GAP, _HEAD + rows * (_SIDE + _GAP) + _GAP)
    sheet = Image.new("RGB", size, "white")
    line = f"{title}; white: annotated, colours: found with a score of {least_score:g} or more"
    ImageDraw.Draw(sheet).text((_GAP, 7), line, fill=_INK, font=ImageFont.load_default())
    for place, cell in enumerate(cells):
        row, column = divmod(place, columns)
        sheet.paste(cell, (_GAP + column * (_SIDE + _GAP), _HEAD + row * (_SIDE + _GAP)))
    save_png(sheet, path)


def colour_of(number: int) -> tuple[int, int, int]:
    """A colour for class `number`, far from those beside it."""
    red, green, blue = colorsys.hsv_to_rgb((number * 0.381966) % 1, 0.85, 1.0)
    return int(255 * red), int(255 * green), int(255 * blue)


def _cell(data: AnnotatedSet, index: int, found: Sequence[Mapping[str, Any]]) -> Image.Image | None:
    own = data.images[index]
    try:
        pixels = read_pixels(data, index)
    except BadImage:
        return None
    scale = _SIDE / max(own.height, own.width)
    shown = np.array(resized(pixels, (round(own.height * scale), round(own.width * scale))), np.float32)
    place = {number: i for i, number in enumerate(data.category_ids)}
    for each in found:
        if "segmentation" in each:
            whole = masks.draw(each["segmentation"], (own.height, own.width))
            inside = resized(255 * whole, (shown.shape[0], shown.shape[1])) > 127
            shown[inside] = 0.55 * shown[inside] + 0.45 * np.array(colour_of(place[each["category_id"]]))
    canvas = Image.new("RGB", (_SIDE, _SIDE), (235, 235, 235))
    canvas.paste(Image.fromarray(shown.astype(np.uint8)))
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default()
    for box, crowd in zip(own.boxes * scale, own.crowd, strict=True):
        pen.rectangle(box.tolist(), outline=(120, 120, 120) if crowd else _TRUTH, width=3)
    for each in found:
        x, y, width, height = (scale * value for value in each["bbox"])
        number = place[each["category_id"]]
        pen.rectangle((x, y, x + width, y + height), outline=colour_of(number), width=2)
        text = f"{data.class_names[number]} {each['score']:.2f}"
        left, top = max(0, min(x, _SIDE - 6 * len(text))), max(0, y - 12)
        pen.rectangle((left, top, left + 6 * len(text) + 4, top + 12), fill=colour_of(number))
        pen.text((left + 2, top), text, fill=_INK, font=font)
    return canvas
