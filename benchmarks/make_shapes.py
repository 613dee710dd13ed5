"""A set in COCO's layout to try detectors on: discs, triangles and crosses, with boxes and masks, on photographs.

    python benchmarks/make_shapes.py --photos tiny-imagenet-100 --out shapes --train 400 --val 120

Shapes are textured by cuts of other photographs, turned, and may hide one another up to a third. Categories have gaps
in their numbers, some masks are polygons and some run lengths, and a few images hold no shape.
"""

import argparse
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = {2: "disc", 5: "triangle", 9: "cross"}
_EMPTY = 0.05
_HIDDEN = 1 / 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of pictures, or of parquet files of them")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--train", type=int, default=400)
    parser.add_argument("--val", type=int, default=120)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    photos = photographs(args.photos)
    for split, count, seed in (("train", args.train, args.seed), ("val", args.val, args.seed + 1)):
        write_split(args.out, split, count, args.size, np.random.default_rng(seed), photos)
        print(f"{count} images of {args.size} px in {args.out / split}")


def photographs(place: Path) -> Callable[[np.random.Generator], NDArray[np.uint8]]:
    """Gives a random picture of a source that lowzoo can open."""
    from lowzoo.data.source import open_set

    source = open_set(str(place)).open("train")

    def one(random: np.random.Generator) -> NDArray[np.uint8]:
        return source.pixels(int(random.integers(len(source))))

    return one


def write_split(
    out: Path,
    split: str,
    count: int,
    size: int,
    random: np.random.Generator,
    photo: Callable[[np.random.Generator], NDArray[np.uint8]],
) -> None:
    """Write the images of a split and its annotation file."""
    (out / split).mkdir(parents=True, exist_ok=True)
    (out / "annotations").mkdir(exist_ok=True)
    images, annotations = [], []
    for number in range(1, count + 1):
        canvas = _resized(photo(random), size).astype(np.float32)
        taken = np.zeros((size, size), np.int32)
        shapes = [] if random.random() < _EMPTY else [_shape(size, random) for _ in range(int(random.integers(1, 5)))]
        kept: list[tuple[int, NDArray[np.bool_], list[float] | None]] = []
        for category, mask, outline in shapes:
            hides = [(taken == i + 1) & mask for i in range(len(kept))]
            if any(h.sum() > _HIDDEN * kept[i][1].sum() for i, h in enumerate(hides)) or not mask.any():
                continue
            texture = _resized(photo(random), size).astype(np.float32)
            tint = random.uniform(0, 255, 3)
            canvas[mask] = 0.35 * texture[mask] + 0.65 * tint
            taken[mask] = len(kept) + 1
            kept.append((category, mask, outline))
        for i, (category, whole, outline) in enumerate(kept):
            mask = taken == i + 1
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
            untouched = bool((mask == whole).all())
            polygons = [outline] if outline is not None and untouched and i % 2 == 0 else run_lengths(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    "bbox": [int(value) for value in box],
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                    "segmentation": polygons,
                }
            )
        name = f"{number:06}.jpg"
        Image.fromarray(canvas.clip(0, 255).astype(np.uint8)).save(out / split / name, quality=92)
        images.append({"id": number, "file_name": name, "width": size, "height": size})
    categories = [{"id": number, "name": name} for number, name in CLASSES.items()]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (out / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """COCO's run lengths, not packed: down the columns, from 0 on."""
    flat = mask.T.ravel().astype(np.int8)
    edges = np.flatnonzero(np.diff(flat)) + 1
    bounds = [0, *edges.tolist(), len(flat)]
    counts = [b - a for a, b in pairwise(bounds)]
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def _shape(size: int, random: np.random.Generator) -> tuple[int, NDArray[np.bool_], list[float] | None]:
    """Category, mask, and the outline where it is a polygon."""
    category = int(random.choice(list(CLASSES)))
    radius = size * random.uniform(0.09, 0.24)
    x, y = random.uniform(0.5 * radius, size - 0.5 * radius, 2)
    turn = random.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:size, :size] + 0.5
    if category == 2:
        return category, (columns - x) ** 2 + (rows - y) ** 2 < radius**2, None
    if category == 5:
        angles, lengths = turn + np.arange(3) * 2 * np.pi / 3, np.full(3, 1.25 * radius)
    else:
        arm = 0.35
        corners = [(1, arm), (arm, arm), (arm, 1), (-arm, 1), (-arm, arm), (-1, arm)]
        points = np.array(corners + [(-a, -b) for a, b in corners]) * radius
        angles, lengths = turn + np.arctan2(points[:, 1], points[:, 0]), np.hypot(points[:, 0], points[:, 1])
    outline = np.stack((x + lengths * np.cos(angles), y + lengths * np.sin(angles)), 1)
    inside = np.zeros((size, size), bool)
    last = outline[-1]
    for point in outline:  # how often a ray to the left crosses the outline
        crosses = (point[1] > rows) != (last[1] > rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = (last[0] - point[0]) * (rows - point[1]) / (last[1] - point[1]) + point[0]
        inside ^= crosses & (columns < at)
        last = point
    return category, inside, outline.ravel().round(2).tolist()


def _resized(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC))


if __name__ == "__main__":
    main()
