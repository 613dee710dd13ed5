"""What the two bundled teachers are worth, by size of view: k-NN of their features.

    python benchmarks/bundled_teachers.py --data tiny-imagenet-100

On the embedded sample set (1,254 drawings as bank, 313 as queries) and on 5,000 photographs of 64 px (every 10th of
tiny-imagenet-100's training images; 1,667 of its validation images as queries). k = 20, cosine, T = 0.07. Pictures are
enlarged or shrunk to the size by a bicubic filter. Result: results/bundled_teachers.json.
"""

import argparse
import json
import os
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from tiny_imagenet_part import part

from lowzoo.data.source import open_set
from lowzoo.system.machine import versions
from lowzoo.train.monitoring.monitor import KnnMonitor
from lowzoo.train.teachers import load_teacher

OUT = Path(__file__).parent / "results" / "bundled_teachers.json"
SIZES = (64, 96, 128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the parquet files")
    data = parser.parse_args().data
    drawings = open_set(None)
    sets = {
        "drawings": (drawings.open("train"), drawings.open("validation")),
        "photographs": (
            part(data, "train", np.arange(0, 50_000, 10)),
            part(data, "validation", np.arange(0, 5_000, 3)),
        ),
    }
    knn: dict[str, dict[str, dict[str, float]]] = {}
    for name in ("mobilenetv2_supervised", "rob_vit_tiny"):
        for images, (bank, queries) in sets.items():
            for size in SIZES:
                backbone = load_teacher(name, size=size, head="fitted").backbone
                monitor = KnnMonitor(bank, queries, size, len(bank), len(queries))
                found, _ = monitor.measure(backbone, torch.device("cpu"), nullcontext)
                knn.setdefault(name, {}).setdefault(images, {})[str(size)] = round(found, 2)
                print(f"{name}, {images} at {size} px: {found:.1f} %", flush=True)
    OUT.write_text(json.dumps({"knn": knn, "versions": versions(), "cores": os.cpu_count()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
