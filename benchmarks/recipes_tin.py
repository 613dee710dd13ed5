"""Train each recipe for a few epochs on photographs, and draw k-NN over epochs beside the initialisation.

    python benchmarks/recipes_tin.py rob --data tiny-imagenet-100 --work DIR [--seconds 540]
    python benchmarks/recipes_tin.py draw --work DIR

A few epochs on a twentieth of the images, for RoB on a fifth, on a processor: a proof that each recipe learns from
real photographs, not a comparison of them. The images are every 20th (5th) of each class of the training split; k-NN
(k = 20) takes 2,000 of them as bank and 500 of the validation split as queries. A run stops itself after `--seconds`
and goes on when the command is repeated. `draw` writes results/recipes_tin.png and results/recipes_tin.json from what
the runs left.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowzoo.data.reading.reader import Reader
from lowzoo.data.source import ImageSource, open_source
from lowzoo.system.machine import versions
from lowzoo.train.monitoring.metrics import read_metrics
from lowzoo.train.monitoring.progress import Progress
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs import folder as run_folder
from lowzoo.train.runs.loop import Run
from lowzoo.train.settings.config import resolve

IMAGES = 50_000
# RoB's ViT learns slowly: of a twentieth, k-NN was 4.8 % after 234 steps and 4.6 % before them.
EVERY = {"rob": 5, "seed": 20, "sslight": 20}
COMMON = ["device=cpu", "batch_size=32", "workers=0", "monitor_epochs=1", "monitor_bank=2000", "monitor_queries=500"]
COMMON += ["checkpoint_steps=50", "tensorboard=false", "precision=bf16"]
ADAMW = ["optimizer=adamw", "lr=4e-4", "lr_batch=0", "lr_start=1e-5", "lr_end=1e-6", "warmup=0.1", "clip_grad=1.0"]
ADAMW += ["weight_decay=0.04", "weight_decay_end=0.04", "schedule=cosine", "update=step"]
SMALL = ["view.global.size=64", "view.local.size=32", "view.local.count=2"]
# The papers' presets; what the size of images, batch and machine asks for is laid over them.
RUNS: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "rob": (
        ("rob_dino",),
        [
            *[*ADAMW, *SMALL, "student=vit_tiny", "teacher=rob_vit_tiny", "epochs=5", "drop_path=0"],
            *[
                "view.global.count=1",
                "view.global.blur=[0.5]",
                "view.global.solarise=[0.1]",
                "student_head.layers=2",
                "student_head.hidden=512",
                "student_head.bottleneck=128",
                "teacher_prototypes=true",
            ],
        ],
    ),
    "seed": (
        ("seed",),
        [*ADAMW, "view.global.size=64", "student=vit_tiny", "teacher=rob_vit_tiny", "queue=1024", "epochs=5"],
    ),
    "sslight": (
        ("sslight_moco_cnn", "sslight_views_sslight"),
        [
            *[*ADAMW, *SMALL, "student=resnet10t", "queue=1024", "ema=0.99", "ema_end=0.99", "epochs=5"],
            *["sync_bn=false", "decay_rule=one_d", "student_head.hidden=512", "precision=fp32"],
        ],
    ),
}


@dataclass(frozen=True)
class Part:
    """Some of the images of another reader."""

    whole: Reader
    chosen: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.chosen)

    def encoded(self, index: int) -> bytes:
        """The bytes of image `index` of the part."""
        return self.whole.encoded(int(self.chosen[index]))

    def where(self, index: int) -> str:
        """Its name."""
        return self.whole.where(int(self.chosen[index]))

    def fingerprint(self) -> str:
        """That of the whole, and how many are taken."""
        return f"{self.whole.fingerprint()[:12]}{len(self.chosen):04x}"


def part_of(source: ImageSource, every: int) -> ImageSource:
    """Every `every`-th image of each class."""
    labels = source.require_labels()
    places = [np.flatnonzero(labels == label)[::every] for label in np.unique(labels)]
    chosen = np.sort(np.concatenate(places))
    name = f"{source.name}, every {every}th image of each class"
    return ImageSource(name, Part(source.reader, chosen), labels[chosen], source.class_names)


def config_of(recipe: str) -> TrainConfig:
    """The configuration of a run."""
    layers, settings = RUNS[recipe]
    return resolve(layers, settings=[*COMMON, *settings])


class _Enough(Exception):
    """The time of this piece is over."""


class _Piece(Progress):
    """The bar of a run that stops, after a checkpoint or so, when its time is over."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._end = time.monotonic() + seconds

    def update(self, step: int, row: dict[str, Any]) -> None:
        """Show a row, or stop."""
        super().update(step, row)
        if time.monotonic() > self._end:
            raise _Enough


def train(recipe: str, data: str, work: Path, seconds: float) -> None:
    """Train a piece of a run."""
    config, folder = config_of(recipe), work / recipe
    source = part_of(open_source(data), EVERY[recipe])
    run = Run(
        config,
        source,
        open_source(data, "validation"),
        folder,
        resume=(folder / "config.toml").exists(),
        say=lambda line: print(line, flush=True),
    )
    try:
        run.train(_Piece(seconds))
        print(f"{recipe}: finished", flush=True)
    except _Enough:
        print(f"{recipe}: at step {run.step} of {len(run.updates)}; repeat the command to go on", flush=True)


def draw(work: Path, out: Path) -> None:
    """Write the picture and the JSON of the runs that are there, finished or not."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    found = [recipe for recipe in RUNS if (work / recipe / "metrics.jsonl").exists()]
    figure, axes = plt.subplots(1, len(found), figsize=(4 * len(found), 3.4), sharey=True, squeeze=False)
    report: dict[str, Any] = {}
    for axis, recipe in zip(axes[0], found, strict=True):
        all_rows = read_metrics(work / recipe / "metrics.jsonl")
        rows, config = [row for row in all_rows if "knn" in row], run_folder.read_config(work / recipe)
        epochs, knn = [row["epoch"] for row in rows], [row["knn"] for row in rows]
        taught = f" from {config.teacher}" if hasattr(config, "teacher") else ""
        axis.plot(epochs, knn, "o-", markersize=4)
        axis.axhline(knn[0], linestyle="--", color="grey")
        axis.annotate("initialisation", (epochs[-1], knn[0]), ha="right", va="bottom", color="grey")
        axis.set_title(f"{config.method_name}\n{config.student}{taught}", fontsize=9)
        axis.set_xlabel("epochs")
        axis.grid(alpha=0.3)
        report[recipe] = {
            "method": config.method_name,
            "student": config.student,
            "teacher": getattr(config, "teacher", None),
            "images": IMAGES // EVERY[recipe],
            "epochs_planned": config.epochs,
            "epochs_done": all_rows[-1]["epoch"],
            "batch_size": config.batch_size,
            "knn": [{"epoch": row["epoch"], "top1": row["knn"]} for row in rows],
            "losses": [{"epoch": row["epoch"], "loss": row["loss"]} for row in all_rows if "loss" in row],
            "config": config.model_dump(mode="json"),
        }
    axes[0][0].set_ylabel("k-NN top-1, % (k = 20, 100 classes)")
    figure.tight_layout()
    out.mkdir(exist_ok=True)
    figure.savefig(out / "recipes_tin.png", dpi=110)
    facts = {"cores": os.cpu_count(), "versions": versions()}
    (out / "recipes_tin.json").write_text(json.dumps({"runs": report, **facts}, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*RUNS, "draw"])
    parser.add_argument("--data", help="tiny-imagenet-100: parquet files of both splits")
    parser.add_argument("--work", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--seconds", type=float, default=540, help="length of a piece (default 540)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    words = parser.parse_args()
    if words.what == "draw":
        draw(words.work, words.out)
    elif not words.data:
        parser.error("--data is needed")
    else:
        train(words.what, words.data, words.work, words.seconds)


if __name__ == "__main__":
    main()
