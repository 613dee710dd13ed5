"""Small sets in the layout of the archives that their owners distribute."""

import json
import pickle

import numpy as np
from PIL import Image

CIFAR_RECORDS = {"train": 200, "test": 100}
COUNTS = {"train": 12, "val": 6}


def picture(path, number, seed):
    """A picture of 30 x 24 px whose shade tells its class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-20, 20, (24, 30, 3))
    colour = np.array([60 + 60 * (number == 0), 60 + 60 * (number == 1), 60 + 60 * (number == 2)])
    Image.fromarray((colour + noise).astype(np.uint8)).save(path)


def cifar100(root, layout):
    """Write both splits; gives the folder, the planes (N, 3072) and the labels of each."""
    folder = root / f"cifar-100-{layout}"
    folder.mkdir(parents=True)
    names = [f"fine{i}" for i in range(100)]
    planes, labels = {}, {}
    for number, (split, records) in enumerate(CIFAR_RECORDS.items()):
        rng = np.random.default_rng(number)
        labels[split] = np.arange(records) % 100
        planes[split] = rng.integers(0, 256, (records, 3072), dtype=np.uint8)
        if layout == "binary":
            heads = np.stack([labels[split] // 5, labels[split]], axis=1).astype(np.uint8)
            np.concatenate([heads, planes[split]], axis=1).tofile(folder / f"{split}.bin")
        else:
            table = {
                "filenames": [f"{i}.png" for i in range(records)],
                "batch_label": "training batch 1 of 1",
                "fine_labels": labels[split].tolist(),
                "coarse_labels": (labels[split] // 5).tolist(),
                "data": planes[split],
            }
            (folder / split).write_bytes(pickle.dumps(table, protocol=2))
    if layout == "binary":
        (folder / "fine_label_names.txt").write_text("\n".join(names) + "\n")
        (folder / "coarse_label_names.txt").write_text("\n".join(f"coarse{i}" for i in range(20)) + "\n")
    else:
        (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}, protocol=2))
    return folder, planes, labels


def inaturalist18(root):
    """Write both splits with the categories 1, 4 and 7."""
    identities = (1, 4, 7)
    categories = [{"id": i, "name": f"species{i}", "supercategory": "Plantae"} for i in reversed(identities)]
    start = 0
    for split, count in COUNTS.items():
        images, annotations = [], []
        for i in range(start, start + count):
            category = identities[i % 3]
            name = f"train_val2018/Plantae/{category}/{i}.jpg"
            picture(root / name, i % 3, i)
            images.append({"id": 1000 + i, "file_name": name, "width": 30, "height": 24, "license": 3})
            annotations.append({"id": 5000 + i, "image_id": 1000 + i, "category_id": category})
        document = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}
        (root / f"{split}2018.json").write_text(json.dumps(document))
        start += count


def places205(root, images):
    """Write both splits; gives the folder of the pictures."""
    scenes = ("a/abbey", "a/alley", "a/apartment_building/outdoor")
    (root / "trainvalsplit_places205").mkdir(parents=True)
    start = 0
    for split, count in COUNTS.items():
        lines = []
        for i in range(start, start + count):
            picture(root / images / scenes[i % 3] / f"gsun_{i}.jpg", i % 3, i)
            lines.append(f"{scenes[i % 3]}/gsun_{i}.jpg {i % 3}\n")
        (root / "trainvalsplit_places205" / f"{split}_places205.csv").write_text("".join(lines))
        start += count
    return root / images


def clevr(root, counts=(3, 6, 9), nearest=(7.0, 8.2, 9.9)):
    """Write both splits; objects and the distance of the nearest one go round by turns."""
    for split, count in COUNTS.items():
        scenes = []
        for i in range(count):
            name = f"CLEVR_{split}_{i:06}.png"
            picture(root / "images" / split / name, i % 3, i)
            objects = [
                {
                    "color": "gray",
                    "shape": "cube",
                    "size": "large",
                    "material": "rubber",
                    "3d_coords": [0.1, 0.2, 0.7],
                    "pixel_coords": [10, 12, nearest[i % 3] + 0.5 * thing],
                    "rotation": 30.0,
                }
                for thing in range(counts[i % 3])
            ]
            scenes.append(
                {
                    "image_index": i,
                    "image_filename": name,
                    "split": split,
                    "objects": objects,
                    "relationships": {},
                    "directions": {},
                }
            )
        folder = root / "scenes"
        folder.mkdir(parents=True, exist_ok=True)
        document = {"info": {"version": "1.0", "split": split}, "scenes": scenes}
        (folder / f"CLEVR_{split}_scenes.json").write_text(json.dumps(document))
