"""Images per second and core of the training loader, from a folder, parquet, tars and `datasets`, on the same pictures.

    python benchmarks/loader.py [--data SRC] [--images N] [--repeats N] [--json]

The first N pictures of SRC (default: the sample set inside the package) are written to a temporary place in each form.
Two things are timed, in one process with one thread, sources taking turns, in the random order of training:

    read     the encoded bytes alone
    views    decode, 2 crops of 224 px and 8 of 96 px, flips, collated to batches of 64: all that a worker does

Time is processor time, so other load disturbs it little; the files are in the page cache.
"""

import argparse
import io
import json
import os
import platform
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from lowzoo.bench.host.machine import condition_now, this_device
from lowzoo.data.source import ImageSource, open_source
from lowzoo.train.data.dataset import EpochBatches, ViewDataset, make_loader
from lowzoo.train.views import ViewGroup

GROUPS = (
    ViewGroup(name="global", count=2, size=224, scale=(0.25, 1.0), blur=(1.0, 0.1), solarise=(0.0, 0.2)),
    ViewGroup(name="local", count=8, size=96, scale=(0.05, 0.25), blur=(0.5,)),
)
BATCH, SHARD = 64, 256


def write_folder(pictures: list[bytes], root: Path) -> None:
    root.mkdir()
    for index, data in enumerate(pictures):
        (root / f"{index:06}.jpg").write_bytes(data)


def write_parquet(pictures: list[bytes], root: Path) -> None:
    root.mkdir()
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = pa.array([{"bytes": data, "path": None} for data in pictures], kind)
    pq.write_table(pa.table({"image": cells}), root / "train.parquet", row_group_size=100)


def write_tars(pictures: list[bytes], root: Path) -> None:
    root.mkdir()
    for first in range(0, len(pictures), SHARD):
        with tarfile.open(root / f"{first // SHARD:05}.tar", "w") as archive:
            for index, data in enumerate(pictures[first : first + SHARD], first):
                member = tarfile.TarInfo(f"{index:06}.jpg")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def write_datasets(pictures: list[bytes], root: Path) -> None:
    features = datasets.Features({"image": datasets.Image()})
    cells = [{"bytes": data, "path": None} for data in pictures]
    datasets.Dataset.from_dict({"image": cells}, features=features).save_to_disk(root)


FORMS: dict[str, Callable[[list[bytes], Path], None]] = {
    "folder": write_folder,
    "parquet": write_parquet,
    "tars": write_tars,
    "datasets": write_datasets,
}


def read(source: ImageSource, epoch: int) -> int:
    """Bytes of every picture in the order of an epoch."""
    batches = EpochBatches(len(source), BATCH, epochs=epoch + 1, seed=0, start=epoch * (len(source) // BATCH))
    return sum(bool(source.encoded(index)) for batch in batches for _, index in batch)


def views(source: ImageSource, epoch: int) -> int:
    """Batches of an epoch."""
    batches = EpochBatches(len(source), BATCH, epochs=epoch + 1, seed=0, start=epoch * (len(source) // BATCH))
    return sum(len(batch) for batch in make_loader(ViewDataset(source, GROUPS, 0), batches, workers=0, pin=False))


def rate(call: Callable[[], int]) -> float:
    """Images per second of processor time."""
    start = time.process_time()
    images = call()
    return images / (time.process_time() - start)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a source of images (default: the sample set in the package)")
    parser.add_argument("--images", type=int, default=512, help="how many of them (default 512)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, the table on stderr")
    options = parser.parse_args()

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    datasets.disable_progress_bars()
    device, before = this_device(), condition_now()
    given = open_source(options.data)
    pictures = [given.encoded(index) for index in range(min(options.images, len(given)))]
    rates: dict[str, dict[str, list[float]]] = {form: {"read": [], "views": []} for form in FORMS}
    with tempfile.TemporaryDirectory() as place:
        os.environ["LOWZOO_CACHE"] = f"{place}/cache"
        sources = {}
        for form, write in FORMS.items():
            write(pictures, Path(place) / form)
            sources[form] = open_source(Path(place) / form)
        for repeat in range(-1, options.repeats):  # the first round warms up
            for form, source in sources.items():
                for what, call in (("read", read), ("views", views)):
                    found = rate(lambda call=call, source=source, repeat=repeat: call(source, repeat + 1))
                    if repeat >= 0:
                        rates[form][what].append(found)

    table = sys.stderr if options.json else sys.stdout
    size = sum(map(len, pictures)) / len(pictures) / 1000
    print(f"{len(pictures)} pictures of {size:.1f} kB on average; images/s and core, median (min to max)", file=table)
    for form, both in rates.items():
        cells = [f"{statistics.median(v):9.0f} ({min(v):.0f} to {max(v):.0f})" for v in both.values()]
        print(f"{form:10}{cells[0]:>32}{cells[1]:>24}", file=table)
    if options.json:
        print(
            json.dumps(
                {
                    "benchmark": "loader",
                    "pictures": len(pictures),
                    "kilobytes": size,
                    "views": [group.model_dump() for group in GROUPS],
                    "clock": "process time, one thread",
                    "images_per_s": {
                        form: {
                            what: {"median": statistics.median(v), "min": min(v), "max": max(v)}
                            for what, v in both.items()
                        }
                        for form, both in rates.items()
                    },
                    "machine": device.model_dump(),
                    "load_average": before.load_average,
                    "versions": {
                        "python": platform.python_version(),
                        "torch": torch.__version__,
                        "opencv": cv2.__version__,
                        "pyarrow": pa.__version__,
                        "datasets": datasets.__version__,
                    },
                },
                indent=2,
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
