"""A short run learns: its student tells held-out pictures better than it did at random.

The pictures are stripes. Their class is direction and width; colours, phase and noise are free, so that a random
network, which sees colours above all, knows little of it.
"""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowzoo.train.monitoring.metrics import read_metrics
from lowzoo.train.monitoring.progress import Progress
from lowzoo.train.settings.config import resolve
from tests.helpers.train import start

SIDE, CLASSES, TRAINING, HELD_OUT = 40, 8, 60, 40
VIEWS = "scale=[0.5,1.0],flip=0.0,jitter=[0.8,0.8,0.8,0.2],gray=0.3"
COMMON = [
    "student=test_resnet",
    "batch_size=32",
    "sync_bn=false",
    "workers=0",
    "device=cpu",
    "precision=fp32",
    "tensorboard=false",
    f"monitor_bank={CLASSES * TRAINING}",
    f"monitor_queries={CLASSES * HELD_OUT}",
    "monitor_epochs=1000",
    "warmup=0.1",
    "decay_rule=one_d",
    "optimizer=adamw",
]
TAUGHT = [
    "teacher=mobilenetv2_supervised",
    "teacher_head=fitted",
    "teacher_size=64",
    "prototypes=64",
    "fitted_bottleneck=32",
    f'views=[{{name="global",count=1,size=32,{VIEWS}}}]',
]
RUNS = {
    "rob": (
        ("rob_msn",),
        [
            *TAUGHT,
            "student_head.kind=dino",
            "student_head.layers=2",
            "student_head.hidden=128",
            "student_head.bottleneck=32",
            "teacher_temperature=0.05",
            "patch_drop=0",
            "lr=0.002",
            "epochs=8",
        ],
    ),
    "seed": (
        ("seed",),
        [
            *TAUGHT,
            "student_head.hidden=128",
            "student_head.bottleneck=32",
            "queue=256",
            "lr=0.002",
            "lr_batch=0",
            "lr_start=0.00001",
            "schedule=cosine",
            "update=step",
            "epochs=8",
        ],
    ),
    "sslight": (
        ("sslight_moco_cnn",),
        [
            f'views=[{{name="global",count=2,size=32,{VIEWS}}}]',
            "queue=256",
            "student_head.hidden=64",
            "student_head.bottleneck=32",
            "alpha=1",
            "beta=0",
            "ema=0.95",
            "lr=0.004",
            "epochs=20",
        ],
    ),
}


def stripes(rng: np.random.Generator, label: int) -> Image.Image:
    angle = np.deg2rad((0, 30, 60, 90)[label % 4] + rng.normal(0, 4))
    period = (4.5, 9.0)[label // 4] * rng.uniform(0.9, 1.1)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    turns = (columns * np.cos(angle) + rows * np.sin(angle)) / period
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * turns + rng.uniform(0, 2 * np.pi))
    one, other = rng.integers(0, 256, (2, 3))
    pixels = one + (other - one) * wave[..., None] + rng.normal(0, 25, (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def striped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("stripes"), np.random.default_rng(0)
    for split, count in (("train", TRAINING), ("validation", HELD_OUT)):
        for label in range(CLASSES):
            place = folder / split / f"class{label}"
            place.mkdir(parents=True)
            for index in range(count):
                stripes(rng, label).save(place / f"{index:03}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RUNS)
def test_a_short_run_learns(recipe: str, striped: Path, tmp_path: Path) -> None:
    layers, settings = RUNS[recipe]
    start(striped, tmp_path / "run", resolve(layers, settings=[*COMMON, *settings])).train(Progress())
    found = [row["knn"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "knn" in row]
    before, after = found[0], found[-1]
    share = after / 100
    error = 100 * math.sqrt(share * (1 - share) / (CLASSES * HELD_OUT))
    assert len(found) > 1
    assert after > before + 2 * error, found
