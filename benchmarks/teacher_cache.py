"""Time of a RoB-DINO step with a ViT-B/16-shaped teacher: computed each time, over read from the cache; in one run.

    python benchmarks/teacher_cache.py [--steps 3] [--batch-size 32] [--check]
    python benchmarks/teacher_cache.py --device cuda --steps 30 --batch-size 512 --data DIR --out gpu.json
    python benchmarks/teacher_cache.py --device cuda --teacher vit_small_patch16_224 ...

The views are the paper's (2 x 224 and 8 x 96 px) and the head has its 65,536 outputs; weights are random, which changes
no time. In batches of 16 the head's 16 million weights, which every step normalises and moves, still count: the ratio
was 2.84 where batches of 32 gave 2.999. Images are those of the embedded sample set, or of `--data`. Each row of the
result is the report of `lowzoo train --bench`: images/s, waiting for data, the teacher's share, and the share of the
matrix-product peak that the same run measures. `--check` fails below a ratio of 3.
"""

import argparse
import json
import math
import os
import tempfile
from pathlib import Path

import timm
import torch

from lowzoo.data.source import open_source
from lowzoo.train import run_folder
from lowzoo.train.bench import measure
from lowzoo.train.config import resolve
from lowzoo.train.head_files import save_head
from lowzoo.train.heads import HeadSpec
from lowzoo.train.loop import Run
from lowzoo.train.machine import versions

_OUTPUTS = 65_536
_BOUND = 3.0


def make_teacher(folder: Path, architecture: str) -> Path:
    """A random ViT with a random DINO head, as a run folder."""
    torch.manual_seed(0)
    backbone = timm.create_model(architecture, num_classes=0)
    folder.mkdir()
    width = backbone.num_features
    run_folder.save_student(folder, backbone, architecture, 224, width)
    spec = HeadSpec()
    save_head(folder / "head.safetensors", spec.build(width, _OUTPUTS), spec, width, _OUTPUTS)
    return folder


def step_seconds(student: str, teacher: Path, scratch: Path, words: argparse.Namespace, cache: Path | None) -> dict:
    """The bench of a fresh run."""
    source = open_source(words.data)
    # Some steps warm up, and the bench leaves two.
    epochs = math.ceil((words.steps + 5) / (len(source) // words.batch_size))
    settings = [f"batch_size={words.batch_size}", f"epochs={epochs}", "monitor_epochs=0", "tensorboard=false"]
    settings += [f"device={words.device}", f"student={student}", f"teacher={teacher}", "drop_path=0"]
    if student != "vit_tiny":
        settings.append("positions=timm")
    config = resolve("rob_dino", settings=settings)
    folder = Path(tempfile.mkdtemp(dir=scratch))
    run = Run(config, source, None, folder / "run", teacher_cache=cache)
    return measure(run, warm_up=1, steps=words.steps)


def main() -> None:
    """Measure both students, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--teacher", default="vit_base_patch16_224", help="shape of the teacher, a ViT of timm")
    parser.add_argument("--data", help="source of images; the embedded sample set if absent")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "teacher_cache.json")
    words = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        teacher = make_teacher(scratch / "teacher", words.teacher)
        for student in ("vit_tiny", "mobilenetv3_large"):
            cache = scratch / "cache"
            # Uncached, then the run that fills the cache, then the one that reads it: the same images each time.
            uncached = step_seconds(student, teacher, scratch, words, None)
            step_seconds(student, teacher, scratch, words, cache)
            cached = step_seconds(student, teacher, scratch, words, cache)
            ratio = cached["images_per_s"] / uncached["images_per_s"]
            rows[student] = {"ratio": round(ratio, 3), "uncached": uncached, "cached": cached}
            before, after = (f"{100 * report['shares']['teacher']:.0f} %" for report in (uncached, cached))
            speeds = f"{uncached['images_per_s']:.2f} -> {cached['images_per_s']:.2f} images/s"
            print(f"{student}: {speeds}, {ratio:.2f} times; teacher {before} -> {after} of a step", flush=True)
    words.out.parent.mkdir(exist_ok=True)
    # One process ran here; a load far above its own threads means that others took part of the machine.
    facts = {"cores": os.cpu_count(), "load_average": [round(load, 2) for load in os.getloadavg()]}
    words.out.write_text(
        json.dumps({"teacher": words.teacher, "students": rows, **facts, "versions": versions()}, indent=2) + "\n"
    )
    if words.check and min(row["ratio"] for row in rows.values()) < _BOUND:
        raise SystemExit(f"a cached step is less than {_BOUND} times as fast")


if __name__ == "__main__":
    main()
