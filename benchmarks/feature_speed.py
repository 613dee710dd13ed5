"""Feature extraction beside a plain loop of ImageFolder, DataLoader and timm, from 500 x 375 JPEGs.

    python benchmarks/feature_speed.py [--models NAME ...] [--images N] [--batch-size N] [--workers N] [--repeats N]

Both take the same files, batch, workers, threads and weights, by turns in one process; the ratio of each pair of runs
is what counts. Seconds are processor seconds of this process where --workers is 0 (other load on the machine disturbs
them little) and wall seconds otherwise. Features are compared too: the decoders differ in the last bit of a pixel. The
models stand for every architecture of the zoo, at the size it was trained for. Results are added to those that
--out holds.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from lowzoo.data.pixels.decode import decode_rgb
from lowzoo.data.source import open_source
from lowzoo.data.stores.samples import demonstration_photos
from lowzoo.evaluate.result import versions
from lowzoo.features.features import extract_features
from lowzoo.io.files import write_text
from lowzoo.zoo.resolve import Resolved, load_model

MODELS = [
    "rob_mobilenetv3_large",
    "seed_mobilenetv3_large",
    "sslight_dino_mobilenetv2",
    "seed_efficientnet_b0",
    "seed_efficientnet_b1",
    "rob_vit_tiny",
    "sslight_dino_vit_tiny",
    "rob_vit_small",
    "rob_resnet18",
    "rob_resnet34",
    "rob_resnet50",
    "rob_regnety_8gf",
]


def write_photos(folder: Path, count: int) -> None:
    """Random parts of the photographs in the package, resized to 500 x 375."""
    photos = [Image.fromarray(decode_rgb(data, name)) for name, data in demonstration_photos()]
    rng = np.random.default_rng(0)
    (folder / "a").mkdir(parents=True)
    for i in range(count):
        photo = photos[i % len(photos)]
        width = rng.uniform(0.4, 1.0) * min(photo.width, photo.height * 4 / 3)
        left, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - 0.75 * width)
        part = photo.resize((500, 375), box=(left, top, left + width, top + 0.75 * width))
        part.save(folder / "a" / f"{i:05}.jpg", quality=90)


def plain(resolved: Resolved, model: torch.nn.Module, folder: Path, batch_size: int, workers: int) -> Tensor:
    """What anybody would write."""
    size = resolved.input_size[1]
    pipeline = transforms.Compose(
        [
            transforms.Resize(int(size / resolved.crop_pct), interpolation=_interpolation(resolved.interpolation)),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(resolved.mean, resolved.std),
        ]
    )
    loader = DataLoader(ImageFolder(str(folder), pipeline), batch_size=batch_size, num_workers=workers)
    with torch.inference_mode():
        return torch.cat([model(images) for images, _ in loader])


def _interpolation(name: str) -> transforms.InterpolationMode:
    return transforms.InterpolationMode(name)


def timed(action: Callable[[], Tensor], clock: Callable[[], float]) -> tuple[float, Tensor]:
    began = clock()
    found = action()
    return clock() - began, found


def compare(name: str, folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    source = open_source(folder)
    resolved = load_model(name, pretrained=False)
    copy = load_model(name, pretrained=False)
    clock = time.perf_counter if arguments.workers else time.process_time

    def ours() -> Tensor:
        settings = {"batch_size": arguments.batch_size, "workers": arguments.workers}
        return extract_features(resolved, source, cache=False, progress=False, **settings).x

    def theirs() -> Tensor:
        return plain(copy, copy.model, folder, arguments.batch_size, arguments.workers)

    ours(), theirs()
    pairs = [(timed(ours, clock), timed(theirs, clock)) for _ in range(arguments.repeats)]
    ratios = [their[0] / our[0] for our, their in pairs]
    (_, found), (_, expected) = pairs[0]
    return {
        "input": resolved.input_size[1],
        "ours_images_per_s": round(len(source) / statistics.median(our[0] for our, _ in pairs), 1),
        "plain_images_per_s": round(len(source) / statistics.median(their[0] for _, their in pairs), 1),
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_least": round(min(ratios), 2),
        "least_cosine": round(torch.nn.functional.cosine_similarity(found, expected).min().item(), 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    known = json.loads(arguments.out.read_text()) if arguments.out and arguments.out.is_file() else {"rows": []}
    settings = {key: value for key, value in vars(arguments).items() if key not in ("out", "models")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photos(folder, arguments.images)
        for model in arguments.models:
            row = {"model": model, **settings, **compare(model, folder, arguments)}
            print(json.dumps(row), flush=True)
            known["rows"].append(row | {"load_average": [round(load, 2) for load in os.getloadavg()]})
            if arguments.out:
                write(arguments.out, known["rows"])


def write(path: Path, rows: list[dict[str, object]]) -> None:
    document = {
        "script": "benchmarks/feature_speed.py",
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "versions": versions("torchvision", "pillow", "opencv-python-headless"),
        "rows": rows,
    }
    write_text(path, json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
