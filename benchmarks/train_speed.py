"""Images per second of training, beside lightly-train and a plain torchvision + PyTorch loop.

    python benchmarks/train_speed.py --peers PYTHON [--points teacher between ...] [--out DIR]

PYTHON is that of an environment with lightly-train, timm and torchvision. Every side has the same photographs in the
same files, the same views, student and shape of teacher (random weights, which change no time), batch, number of
workers and precision (fp32), on the processor, one after the other; lowzoo is measured besides with `onednn=true`, also
in fp32, and in bf16.

    data-12, data-6, data-3, data-0.8, data-0.2
              a very small student and no teacher: DINO with 2 x 224 and 6 x 96 px views (lowzoo: sslight), from
              photographs of so many megapixels: from a phone's to the usual in ImageNet. "views alone" is the same
              without training on the views: the limit for a student that costs nothing
    teacher   ResNet-18 from a ViT-B/14, one view of 224 px: distillation by a queue (lowzoo: seed); the plain loop
              matches prototypes, as DINO does
    between   the same from a ViT-S/14

A peer's workers make its views and nothing else, so that their share of its processor time says how far data bounds it.
(lowzoo's workers decode and crop; colours are changed in the training process, on the accelerator where there is one.
What the workers alone do in a second of theirs is what bounds an accelerator that waits for data.)

Time is from the beginning of one step to that of the next, so waiting for images is part of it; the first steps do not
count. Every side trains with one thread and decodes in one worker; lowzoo changes the next step's colours in a thread
of its own. Compared are images per second of processor time, all threads and processes of a side together: other load
on the machine, which the result states, disturbs it little, and where every core is busy it is what bounds the speed.
Beside it stand images per second by the clock, and of the processor time of the workers alone. Sides of a point run one
after the other, in three turns of which the median counts; a point that is measured alone leaves the others in the
files as they are. Writes train_speed.json and train_speed.md into DIR.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from train_speed_peers import Stopwatch
from train_speed_report import as_markdown, ratios

from lowzoo.bench.host.machine import this_device
from lowzoo.data.source import open_source
from lowzoo.system.machine import versions
from lowzoo.train.heads import HeadSpec
from lowzoo.train.heads.files import save_head
from lowzoo.train.monitoring.progress import StepClock
from lowzoo.train.runs import folder as run_folder
from lowzoo.train.runs.loop import Run
from lowzoo.train.settings.config import resolve

HERE = Path(__file__).resolve().parent
IMAGES = 640
SMALL = {
    "student": "mobilenetv3_small_050",
    "teacher": None,
    "batch": 16,
    "locals": 6,
    "warm_up": 8,
    "steps": 12,
    "turns": 3,
}
LARGE = {"student": "resnet18", "warm_up": 1, "steps": 5, "turns": 3}
VIEWS_STEPS = 24
POINTS: dict[str, dict[str, Any]] = {
    "data-12": SMALL,
    "data-6": SMALL,
    "data-3": SMALL,
    "data-0.8": SMALL,
    "data-0.2": SMALL,
    "teacher": {**LARGE, "teacher": "vit_base_patch14_dinov2", "batch": 4},
    "between": {**LARGE, "teacher": "vit_small_patch14_dinov2", "batch": 8},
}
# Size, how many differ, and a camera's noise, which pictures that were enlarged lack.
USUAL: tuple[tuple[int, int], int, float] = ((500, 375), IMAGES, 0)
PHOTOGRAPHS = {
    "data-12": ((4032, 3024), 40, 3),
    "data-6": ((2880, 2160), 60, 3),
    "data-3": ((2048, 1536), 80, 3),
    "data-0.8": ((1024, 768), 320, 3),
}
# What each side is measured against, at least: lowzoo's row over the peer's.
DATA = {"lowzoo": 2.0, "lowzoo, oneDNN": 2.0, "lowzoo, views alone": 2.0}
BOUNDS = {
    "data-12": DATA,
    "data-6": DATA,
    "data-3": DATA,
    "data-0.8": DATA,
    "data-0.2": DATA,
    "teacher": {"lowzoo": 1.1, "lowzoo, oneDNN": 1.1, "lowzoo, cached": 2.5},
    "between": {"lowzoo": 1.0, "lowzoo, oneDNN": 1.0, "lowzoo, cached": 1.0},
}
GLOBAL = '{name="global",count=%d,size=224,scale=[%s,1.0],blur=%s,solarise=%s}'
LOCAL = '{name="local",count=6,size=96,scale=[0.05,0.14],blur=[0.5]}'


def write_photographs(folder: Path, size: tuple[int, int], distinct: int, noise: float) -> None:
    """Cut `IMAGES` pieces, of which `distinct` differ, out of the photographs that ship with lowzoo.

    Args:
        folder: To write to.
        size: Size of each in pixels.
        distinct: The others are links to the same files.
        noise: Standard deviation of a camera's noise, of 255.
    """
    rng, grain = random.Random(0), np.random.default_rng(0)
    photos = [
        Image.open(str(item)).convert("RGB")
        for item in files("lowzoo.data.samples").iterdir()
        if item.name.endswith("jpg")
    ]
    (folder / "all").mkdir(parents=True)
    for index in range(distinct):
        photo, share = photos[index % len(photos)], rng.uniform(0.6, 1)
        width = min(photo.width, photo.height * 4 / 3) * share
        left, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - width * 3 / 4)
        piece = photo.resize(size, Image.Resampling.LANCZOS, (left, top, left + width, top + width * 3 / 4))
        if noise:
            pixels = np.asarray(piece) + noise * grain.standard_normal((size[1], size[0], 3), np.float32)
            piece = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        piece.save(folder / "all" / f"{index:04}.jpg", quality=90)
    for index in range(distinct, IMAGES):
        os.link(folder / "all" / f"{index % distinct:04}.jpg", folder / "all" / f"{index:04}.jpg")


def make_teacher(folder: Path, architecture: str) -> Path:
    """A random network with a random MoCo head, as a run folder."""
    torch.manual_seed(0)
    backbone = timm.create_model(architecture, num_classes=0, img_size=224)
    folder.mkdir()
    run_folder.save_student(folder, backbone, architecture, 224, backbone.num_features)
    spec = HeadSpec(kind="moco", hidden=0, bottleneck=128)
    save_head(folder / "head.safetensors", spec.build(backbone.num_features, 128), spec, backbone.num_features, 128)
    return folder


def lowzoo_steps(words: dict[str, Any]) -> None:
    """Time a lowzoo run; runs in a process of its own, which it ends."""
    torch.set_num_threads(1)
    tick = Stopwatch(words["warm_up"], words["steps"])
    common = [f"student={words['student']}", f"batch_size={words['batch']}", f"workers={words['workers']}", "epochs=1"]
    common += ["device=cpu", f"precision={words['precision']}", "monitor_epochs=0", "tensorboard=false"]
    common += ["checkpoint_steps=0", "optimizer=adamw", "lr=5e-4", *words.get("more", [])]
    if words["teacher"]:
        views = GLOBAL % (1, "0.2", "[0.5]", "[0.0]")
        layers, own = ("seed",), [f"teacher={words['teacher']}", "queue=256", f"views=[{views}]"]
    else:
        views = GLOBAL % (2, "0.14", "[1.0,0.1]", "[0.0,0.2]") + "," + LOCAL
        layers = ("sslight_dino_cnn", "sslight_views_baseline_cnn")
        own = ["prototypes=1024", "sync_bn=false", "student_head.batch_norm=false", f"views=[{views}]"]
    cache = Path(words["cache"]) if words.get("cache") else None
    with tempfile.TemporaryDirectory() as scratch:
        config = resolve(layers, settings=[*common, *own])
        run = Run(config, open_source(words["folder"]), None, Path(scratch) / "run", teacher_cache=cache)
        clock = StepClock(run.device)
        steps = (run.device_views(batch) for batch in run.loader()) if words["views_alone"] else run.steps(clock)
        for _ in steps:
            tick()


def measure(side: list[str], words: dict[str, Any]) -> dict[str, Any]:
    """Run one side; images/s over all measured steps, and how the steps spread."""
    done = subprocess.run([*side, json.dumps(words)], capture_output=True, text=True, cwd=HERE)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise SystemExit(f"{' '.join(side)} failed:\n{done.stderr[-3000:]}")
    found = json.loads(lines[-1])
    seconds, images = found["seconds"], words["batch"] * len(found["seconds"])
    return {
        "images_per_processor_s": round(images / found["processor"], 2),
        "images_per_s": round(images / sum(seconds), 2),
        "workers_share": round(found["workers"] / found["processor"], 3),
        "step_ms": {
            "median": round(1000 * statistics.median(seconds), 1),
            "min": round(1000 * min(seconds), 1),
            "max": round(1000 * max(seconds), 1),
        },
    }


def median_turn(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """The middle one of an odd number of turns of one side, with the speeds of all."""
    speeds = [turn["images_per_processor_s"] for turn in turns]
    return {**turns[speeds.index(statistics.median(speeds))], "turns": speeds}


def measure_point(name: str, folder: Path, scratch: Path, peers: str, workers: int) -> dict[str, Any]:
    """All sides at one point."""
    words = {**POINTS[name], "folder": str(folder), "workers": workers, "precision": "fp32", "views_alone": False}
    others = str(HERE / "train_speed_peers.py")
    ours = [sys.executable, str(HERE / "train_speed.py"), "--steps-of"]
    sides: dict[str, tuple[list[str], dict[str, Any]]] = {
        "lightly-train": ([peers, others, "lightly"], words),
        "plain loop": ([peers, others, "plain"], words),
    }
    mine = dict(words)
    if words["teacher"]:
        mine["teacher"] = str(make_teacher(scratch / words["teacher"], words["teacher"]))
    sides["lowzoo"] = (ours, mine)
    if words["teacher"]:
        cached = {**mine, "cache": str(scratch / "cache")}
        sides["lowzoo, filling the cache"] = sides["lowzoo, cached"] = (ours, cached)
    else:
        for side, (command, said) in list(sides.items()):
            sides[f"{side}, views alone"] = (command, {**said, "views_alone": True, "steps": VIEWS_STEPS})
    sides["lowzoo, oneDNN"] = (ours, {**mine, "more": ["onednn=true"]})
    sides["lowzoo, bf16"] = (ours, {**mine, "precision": "bf16"})
    turns: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for _ in range(words["turns"]):
        shutil.rmtree(scratch / "cache", ignore_errors=True)
        for side, (command, said) in sides.items():
            turns[side].append(measure(command, said))
            print(f"{name:8} {side:27} {turns[side][-1]['images_per_processor_s']:8.2f} images/s", flush=True)
    rows = {side: median_turn(found) for side, found in turns.items()}
    return {
        "settings": POINTS[name],
        "sides": rows,
        "ratios": ratios(rows, BOUNDS[name]),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "processor": this_device().cpu,
        "versions": {**versions(), **peer_versions(peers)},
    }


def main() -> None:
    """Measure every point, print as it goes, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="python of an environment with lightly-train, timm and torchvision")
    parser.add_argument("--points", nargs="+", choices=POINTS, default=list(POINTS))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--steps-of", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.steps_of:
        lowzoo_steps(json.loads(words.steps_of))
        return
    if not words.peers:
        parser.error("--peers is needed")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        points = {}
        for point in words.points:
            folder = scratch / (point if point in PHOTOGRAPHS else "usual")
            if not folder.exists():
                write_photographs(folder, *PHOTOGRAPHS.get(point, USUAL))
            points[point] = measure_point(point, folder, scratch, words.peers, words.workers)
    file = words.out / "train_speed.json"
    kept = json.loads(file.read_text())["points"] if file.exists() and len(points) < len(POINTS) else {}
    points = {**kept, **points}
    report = {
        "points": {name: points[name] for name in POINTS if name in points},
        "cores": os.cpu_count(),
        "workers": words.workers,
    }
    tables = as_markdown(report)
    words.out.mkdir(exist_ok=True)
    file.write_text(json.dumps(report, indent=2) + "\n")
    (words.out / "train_speed.md").write_text(tables)


def peer_versions(python: str) -> dict[str, str]:
    """Versions of the packages on the other side."""
    names = ["lightly-train", "torch", "torchvision", "timm"]
    code = f"import importlib.metadata as m, json; print(json.dumps({{'peer ' + n: m.version(n) for n in {names}}}))"
    found: dict[str, str] = json.loads(subprocess.run([python, "-c", code], capture_output=True, text=True).stdout)
    return found


if __name__ == "__main__":
    main()
