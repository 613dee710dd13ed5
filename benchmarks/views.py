"""Images per second and core of the view path, against the usual torchvision and PIL pipeline in the same run.

    python benchmarks/views.py [--photo PATH] [--repeats N] [--json] [--check]

Both make 2 views of 224 px and 8 of 96 px, augmented as RoB-iBOT's, from a JPEG of 500 x 375. Four things take turns:

    pil      decode, crop, flip, jitter, grey, blur, solarise, to tensor, normalise: finished views
    worker   decode, crop, flip: what lowzoo's workers do before the device takes over
    whole    the same and the photometric operations on this processor: finished views
    batched  the same with those operations as an accelerator has them, in whole batches

Time is processor time of this process with one thread everywhere, so other load disturbs it little (through the shared
cache). `--check` ends with 1 unless worker is 6 times and whole 3 times as fast as pil, and crops differ from PIL's
by less than 2/255 on average.
"""

import argparse
import io
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import PIL
import torch
import torchvision
from PIL import Image, ImageFilter
from torchvision import transforms

from lowzoo.bench.host.machine import condition_now, this_device
from lowzoo.data.pixels.decode import decode_rgb
from lowzoo.data.stores.samples import demonstration_photos
from lowzoo.train.views import IMAGENET_MEAN, IMAGENET_STD, ViewGroup, batched, crop_views, per_image, sample_params

GROUPS = (
    ViewGroup(name="global", count=2, size=224, scale=(0.25, 1.0), blur=(1.0, 0.1), solarise=(0.0, 0.2)),
    ViewGroup(name="local", count=8, size=96, scale=(0.05, 0.25), blur=(0.5,)),
)
WIDTH, HEIGHT = 500, 375
BATCH = 16
BOUNDS = {"worker": 6.0, "whole": 3.0}
MAX_DIFFERENCE = 2.0


class PilBlur:
    """DINO's blur: a PIL filter of random radius."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def __call__(self, image: Image.Image) -> Image.Image:
        """Blur one image."""
        return image.filter(ImageFilter.GaussianBlur(radius=np.random.uniform(self.low, self.high)))


def pil_pipeline() -> Callable[[bytes], list[torch.Tensor]]:
    """The DINO pipeline with the settings of `GROUPS`, a transform a view."""
    views = []
    for group in GROUPS:
        for i in range(group.count):
            chain = [
                transforms.RandomResizedCrop(group.size, scale=group.scale),
                transforms.RandomHorizontalFlip(group.flip),
                transforms.RandomApply([transforms.ColorJitter(*group.jitter)], group.jitter_p),
                transforms.RandomGrayscale(group.gray),
                transforms.RandomApply([PilBlur(*group.blur_sigma)], group.blur[min(i, len(group.blur) - 1)]),
                transforms.RandomSolarize(128, group.solarise[min(i, len(group.solarise) - 1)]),
                transforms.ToTensor(),
                transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
            views.append(transforms.Compose(chain))

    def run(jpeg: bytes) -> list[torch.Tensor]:
        image = Image.open(io.BytesIO(jpeg)).convert("RGB")
        return [view(image) for view in views]

    return run


def run_pil(jpeg: bytes, run: Callable[[bytes], list[torch.Tensor]]) -> None:
    """A batch of finished views."""
    for _ in range(BATCH):
        run(jpeg)


def run_worker(jpeg: bytes, first: int) -> tuple[list[list[np.ndarray]], list[np.ndarray]]:
    """A batch of crops and their parameters."""
    crops, params = [], []
    for index in range(first, first + BATCH):
        image = decode_rgb(jpeg, "photo")
        drawn = sample_params(GROUPS, 0, 0, index, *image.shape[:2])
        crops.append(crop_views(image, drawn, GROUPS))
        params.append(drawn.photometric)
    return crops, params


def run_whole(jpeg: bytes, first: int, way: ModuleType) -> None:
    """A batch of finished views."""
    crops, params = run_worker(jpeg, first)
    view = 0
    for pixels, group in zip(zip(*crops, strict=True), GROUPS, strict=True):
        rows = np.concatenate([row[view : view + group.count] for row in params])
        way.change_colours(
            torch.from_numpy(np.concatenate(pixels)), torch.from_numpy(rows), IMAGENET_MEAN, IMAGENET_STD
        )
        view += group.count


def crop_difference(jpeg: bytes, images: int = 20) -> float:
    """Mean absolute difference, of 255, to PIL's antialiased resize of the same boxes."""
    image = decode_rgb(jpeg, "photo")
    differences = []
    for index in range(images):
        params = sample_params(GROUPS, 1, 0, index, *image.shape[:2])
        crops = [crop for group in crop_views(image, params, GROUPS) for crop in group]
        for crop, (top, left, height, width), flip in zip(crops, params.boxes.tolist(), params.flips, strict=True):
            box = Image.fromarray(image[top : top + height, left : left + width])
            expected = np.asarray(box.resize(crop.shape[1:], Image.Resampling.BILINEAR)).transpose(2, 0, 1)
            differences.append(np.abs(crop.astype(int) - (expected[..., ::-1] if flip else expected)).mean())
    return float(np.mean(differences))


def photo_jpeg(path: Path | None) -> tuple[str, bytes]:
    """The photograph's name, and itself cut and scaled to 500 x 375 as a JPEG of quality 92."""
    name, data = (path.name, path.read_bytes()) if path else demonstration_photos()[0]
    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale = max(WIDTH / image.width, HEIGHT / image.height)
    width, height = WIDTH / scale, HEIGHT / scale
    left, top = (image.width - width) / 2, (image.height - height) / 2
    out = io.BytesIO()
    image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS, (left, top, left + width, top + height)).save(
        out, "JPEG", quality=92
    )
    return name, out.getvalue()


def seconds(call: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(jpeg: bytes, repeats: int) -> dict[str, list[float]]:
    """Images/s of each contender, one figure a repeat; they take turns."""
    pipeline = pil_pipeline()
    rates: dict[str, list[float]] = {"pil": [], "worker": [], "whole": [], "batched": []}
    for repeat in range(-1, repeats):  # the first round warms up
        first = (repeat + 1) * BATCH
        calls = {
            "pil": lambda: run_pil(jpeg, pipeline),
            "worker": lambda first=first: run_worker(jpeg, first),
            "whole": lambda first=first: run_whole(jpeg, first, per_image),
            "batched": lambda first=first: run_whole(jpeg, first, batched),
        }
        for name, call in calls.items():
            rate = BATCH / seconds(call)
            if repeat >= 0:
                rates[name].append(rate)
    return rates


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, help="a photograph (default: the first one in the package)")
    parser.add_argument("--repeats", type=int, default=10, help=f"rounds of {BATCH} images (default 10)")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, the table on stderr")
    parser.add_argument("--check", action="store_true", help="end with 1 when a bound is missed")
    options = parser.parse_args()

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    np.random.seed(0)
    device, before = this_device(), condition_now()
    name, jpeg = photo_jpeg(options.photo)
    rates = measure(jpeg, options.repeats)
    ratios = {key: [a / b for a, b in zip(rates[key], rates["pil"], strict=True)] for key in BOUNDS}
    difference = crop_difference(jpeg)
    passed = difference < MAX_DIFFERENCE and all(
        statistics.median(ratios[key]) >= bound for key, bound in BOUNDS.items()
    )
    report = {
        "benchmark": "views",
        "photo": {"name": name, "width": WIDTH, "height": HEIGHT, "jpeg_bytes": len(jpeg)},
        "views": [group.model_dump() for group in GROUPS],
        "batch": BATCH,
        "repeats": options.repeats,
        "clock": "process time, one thread",
        "images_per_s": {key: spread(values) for key, values in rates.items()},
        "times_pil": {key: spread(values) | {"bound": BOUNDS[key]} for key, values in ratios.items()},
        "crop_difference_of_255": {"mean": difference, "bound": MAX_DIFFERENCE},
        "passed": passed,
        "machine": device.model_dump(),
        "load_average": before.load_average,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "pillow": PIL.__version__,
            "opencv": cv2.__version__,
            "numpy": np.__version__,
        },
    }

    table = sys.stderr if options.json else sys.stdout
    print(f"{name}, {WIDTH} x {HEIGHT}, {len(jpeg) / 1000:.0f} kB; {device.cpu}, one core", file=table)
    print(f"{'':9}{'images/s':>10}{'(min to max)':>20}{'times pil':>12}{'bound':>8}", file=table)
    for key, values in rates.items():
        ratio = f"{statistics.median(ratios[key]):12.2f}{BOUNDS[key]:8.1f}" if key in BOUNDS else ""
        print(
            f"{key:9}{statistics.median(values):10.1f}{f'({min(values):.1f} to {max(values):.1f})':>20}{ratio}",
            file=table,
        )
    print(f"crops differ from PIL's by {difference:.3f} of 255 on average (bound {MAX_DIFFERENCE})", file=table)
    if options.json:
        print(json.dumps(report, indent=2))
    return int(options.check and not passed)


if __name__ == "__main__":
    sys.exit(main())
