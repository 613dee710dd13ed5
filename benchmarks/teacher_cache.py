"""Time of a RoB-DINO step with a ViT-B/16-shaped teacher: computed each time, over read from the cache; by turns.

    python benchmarks/teacher_cache.py [--turns 11] [--steps 1] [--batch-size 32] [--check]
    python benchmarks/teacher_cache.py --batch-size 16 --out benchmarks/results/teacher_cache_batch_16.json
    python benchmarks/teacher_cache.py --device cuda --turns 1 --steps 200 --batch-size 512 --data DIR --out gpu.json
    python benchmarks/teacher_cache.py --device cuda --teacher vit_small_patch16_224 ...

The views are the paper's (2 x 224 and 8 x 96 px) and the head has its 65,536 outputs; weights are random, which changes
no time. Images are those of the embedded sample set, or of `--data`. Both runs are open at once and take `--steps`
steps by turns, because the speed of cores that other machines share drifts from one minute to the next; the ratio is
that of the middle turn, stored with all of them. A loader works on during the other run's turn, so where images are
waited for, as beside an accelerator, a turn must be several times the four batches that each worker keeps ready. Each
row of the result is the report of `lowzoo train --bench`. `--check` fails below a ratio of 3.
"""

import argparse
import json
import math
import os
import statistics
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import timm
import torch

from lowzoo.bench.host.machine import this_device
from lowzoo.data.source import open_source
from lowzoo.system.machine import versions
from lowzoo.train.bench import StepTimer
from lowzoo.train.heads import HeadSpec
from lowzoo.train.heads.files import save_head
from lowzoo.train.monitoring.progress import StepClock
from lowzoo.train.runs import folder as run_folder
from lowzoo.train.runs.loop import Run
from lowzoo.train.settings.config import resolve

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


def steps_of(words: argparse.Namespace) -> int:
    """Steps of each run: one counts the arithmetic, one warms up, and the rest are timed."""
    steps: int = 2 + words.turns * words.steps
    return steps


def open_run(student: str, teacher: Path, scratch: Path, words: argparse.Namespace, cache: Path | None) -> Run:
    """A fresh run over the same images as any other."""
    source = open_source(words.data)
    epochs = math.ceil(steps_of(words) / (len(source) // words.batch_size))
    settings = [f"batch_size={words.batch_size}", f"epochs={epochs}", "monitor_epochs=0", "tensorboard=false"]
    settings += [f"device={words.device}", f"student={student}", f"teacher={teacher}", "drop_path=0"]
    if student != "vit_tiny":
        settings.append("positions=timm")
    config = resolve("rob_dino", settings=settings)
    return Run(config, source, None, Path(tempfile.mkdtemp(dir=scratch)) / "run", teacher_cache=cache)


def fill(student: str, teacher: Path, scratch: Path, words: argparse.Namespace, cache: Path) -> None:
    """Take the steps that `compare` times, for what they leave in the cache."""
    run = open_run(student, teacher, scratch, words, cache)
    for loss in islice(run.steps(StepClock(run.device)), steps_of(words)):
        # To the host, or an accelerator would still be filling.
        float(loss)


def compare(student: str, teacher: Path, scratch: Path, words: argparse.Namespace) -> dict[str, Any]:
    """Time both ways by turns.

    Returns:
        The ratio of the middle turn, those of all turns, that of the mean steps, and the report of each way.
    """
    cache = scratch / "cache"
    fill(student, teacher, scratch, words, cache)
    timers = [StepTimer(open_run(student, teacher, scratch, words, folder)) for folder in (None, cache)]
    for timer in timers:
        timer.step()
        timer.forget()
    ratios = []
    for _ in range(words.turns):
        uncached, cached = (sum(timer.step() for _ in range(words.steps)) for timer in timers)
        ratios.append(round(uncached / cached, 3))
    reports = [timer.report() for timer in timers]
    # One machine, one peak: the better of the two measurements.
    peak = max(report["matmul_peak_gflops"] for report in reports)
    for report in reports:
        report["flop_utilisation"] = round(report["flop_utilisation"] * report["matmul_peak_gflops"] / peak, 4)
        report["matmul_peak_gflops"] = peak
        # Of both runs together, and those before.
        del report["peak_memory_mb"]
    uncached, cached = reports
    mean = round(cached["images_per_s"] / uncached["images_per_s"], 3)
    row = {"ratio": round(statistics.median(ratios), 3), "ratios": ratios, "ratio_of_means": mean}
    return {**row, "uncached": uncached, "cached": cached}


def main() -> None:
    """Measure both students, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=11)
    parser.add_argument("--steps", type=int, default=1, help="steps a turn")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--teacher", default="vit_base_patch16_224", help="shape of the teacher, a ViT of timm")
    parser.add_argument("--data", help="source of images; the embedded sample set if absent")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "teacher_cache.json")
    words = parser.parse_args()
    if min(words.turns, words.steps) < 1:
        parser.error("--turns and --steps are at least 1")
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        teacher = make_teacher(scratch / "teacher", words.teacher)
        for student in ("vit_tiny", "mobilenetv3_large"):
            row = rows[student] = compare(student, teacher, scratch, words)
            uncached, cached = row["uncached"], row["cached"]
            before, after = (f"{100 * report['shares']['teacher']:.0f} %" for report in (uncached, cached))
            speeds = f"{uncached['images_per_s']:.2f} -> {cached['images_per_s']:.2f} images/s"
            turns = f"{row['ratio']:.2f} times ({min(row['ratios']):.2f} to {max(row['ratios']):.2f})"
            print(f"{student}: {speeds}, {turns}; teacher {before} -> {after} of a step", flush=True)
    words.out.parent.mkdir(exist_ok=True)
    # One process ran here; a load far above its own threads means that others took part of the machine.
    facts = {"turns": words.turns, "steps_a_turn": words.steps, "processor": this_device().cpu}
    facts |= {"cores": os.cpu_count(), "load_average": [round(load, 2) for load in os.getloadavg()]}
    words.out.write_text(
        json.dumps({"teacher": words.teacher, "students": rows, **facts, "versions": versions()}, indent=2) + "\n"
    )
    if words.check and min(row["ratio"] for row in rows.values()) < _BOUND:
        raise SystemExit(f"a cached step is less than {_BOUND} times as fast")


if __name__ == "__main__":
    main()
