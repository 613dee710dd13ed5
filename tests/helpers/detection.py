"""A tiny set in COCO's layout: discs and squares on drawn backgrounds, with all that an annotation file may hold."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = {3: "disc", 7: "square"}
# Options of a run that takes seconds.
TINY = (
    "network.channels=16",
    "network.hidden=16",
    "network.mask_convs=1",
    "network.mask_channels=8",
    "network.anchor_batch=32",
    "network.region_batch=16",
    "network.pre_nms=[40,40]",
    "network.post_nms=[20,20]",
    "network.detections=20",
)


def drawn_set(folder: Path, train: int = 6, val: int = 4, size: int = 96) -> Path:
    """Write a set; the last image of each part is empty, the first of val has a crowd."""
    for number, (split, count) in enumerate((("train", train), ("val", val))):
        document = part(folder / split, count, size, seed=number, crowd=split == "val")
        write_annotations(folder / "annotations" / f"instances_{split}.json", document)
    return folder


def write_annotations(file: Path, document: Any) -> Path:
    """Write an annotation file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document))
    return file


def part(folder: Path, count: int, size: int, *, seed: int = 0, crowd: bool = False) -> dict[str, Any]:
    """Write images and give their annotations: polygons for squares, run lengths for discs."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    rows, columns = np.mgrid[:size, :size]
    for number in range(1, count + 1):
        pixels = np.stack([(rows + columns * random.integers(1, 3)) % 90 + 60] * 3, -1).astype(np.uint8)
        for shape in range(0 if number == count else 2):
            side = int(random.integers(size // 5, size // 3))
            x, y = (int(v) for v in random.integers(0, size - side, 2))
            category = 3 if shape else 7
            inside = (rows >= y) & (rows < y + side) & (columns >= x) & (columns < x + side)
            if category == 3:
                inside = (columns + 0.5 - x - side / 2) ** 2 + (rows + 0.5 - y - side / 2) ** 2 < (side / 2) ** 2
            pixels[inside] = (230, 40, 40) if category == 3 else (40, 60, 230)
            outline: Any = [[x, y, x + side, y, x + side, y + side, x, y + side]]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 10 * number,
                    "category_id": category,
                    "bbox": [x, y, side, side],
                    "area": float(inside.sum()),
                    "iscrowd": 0,
                    "segmentation": outline if category == 7 else runs(inside),
                }
            )
        if crowd and number == 1:
            region = (rows > size // 2) & (columns > size // 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 10,
                    "category_id": 3,
                    "bbox": [size // 2 + 1, size // 2 + 1, size // 2 - 1, size // 2 - 1],
                    "area": float(region.sum()),
                    "iscrowd": 1,
                    "segmentation": runs(region),
                }
            )
        Image.fromarray(pixels).save(folder / f"{number}.png")
        images.append({"id": 10 * number, "file_name": f"{number}.png", "width": size, "height": size})
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in CLASSES.items()],
    }


def runs(mask: Any) -> dict[str, Any]:
    """Run lengths of a mask, down the columns, from 0 on."""
    flat = mask.T.ravel().astype(int)
    bounds = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), len(flat)]
    counts = np.diff(bounds).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}
