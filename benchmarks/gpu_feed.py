"""How many CPU cores feed a GPU, where eight GPUs starve, and what a run costs in GPU hours: computed, not measured.

    python benchmarks/gpu_feed.py [--fraction 0.35] [--photographs data-0.2] [--out DIR]

    appetite [images/s]   = fraction x peak of the GPU / floating-point operations of a training step for one image
    cores for one GPU     = appetite / feed rate of one core
    GPU hours             = 100 epochs x 1,281,167 images / appetite / 3600

A step's operations are counted on fake tensors (`lowzoo.system.device_trace`): RoB-DINO with 2 x 224 and 6 x 96 px
views, the teacher on the two global ones unless its bottlenecks are cached, forward and backward of the student, heads
with 65,536 outputs. The feed rate is measured: `results/train_speed.json`, images that lowzoo's data workers make in a
second of one core's time (decode, crops of the same views), of photographs as in ImageNet. The fraction of its peak at
which a GPU works is the one assumption; peaks are the makers' figures of dense bf16. Memory and interconnect, which
bound small networks, are left out: appetites are upper limits, and so is the number of cores.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import timm
import torch
from gpu_quarter import make_step

from lowzoo.system.device_trace import DeviceTrace

RESULTS = Path(__file__).parent / "results"
# Makers' peaks of dense bf16 matmuls in TFLOPS, and the cores that such a machine usually has for each GPU.
GPUS = {"H100": 989, "H200": 989, "L4": 121, "4090": 165}
CORES_OF_EIGHT = 192
STUDENTS = ("vit_tiny_patch16_224", "mobilenetv3_large_100", "resnet18", "resnet50")
TEACHERS = ("vit_small_patch16_224", "vit_base_patch16_224")
IMAGENET, EPOCHS, PROBE, BATCH = 1_281_167, 100, (8, 16), 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fraction", type=float, default=0.35)
    parser.add_argument("--photographs", default="data-0.2")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    feed = feed_rate(options.photographs)
    steps = {
        (student, teacher, cached): counted(student, teacher, cached)
        for student in STUDENTS
        for teacher in TEACHERS
        for cached in (False, True)
    }
    rows = []
    for gpu, tflops in GPUS.items():
        for (student, teacher, cached), step in steps.items():
            appetite = options.fraction * tflops * 1e12 / step["flops_per_image"]
            cores = appetite / feed["images_per_core_s"]
            rows.append(
                {
                    "gpu": gpu,
                    "student": student,
                    "teacher": teacher,
                    "cached": cached,
                    "images_per_s": round(appetite),
                    "cores_per_gpu": round(cores, 1),
                    "eight_starve": 8 * cores > CORES_OF_EIGHT,
                    "gpu_hours": round(EPOCHS * IMAGENET / appetite / 3600, 1),
                }
            )
    result: dict[str, Any] = {
        "computed": True,
        "formula": __doc__.split("\n\n")[2].strip().splitlines(),
        "inputs": {
            "fraction_of_peak": options.fraction,
            "peak_tflops_bf16": GPUS,
            "feed": feed,
            "views": "2 x 224, 6 x 96",
        },
        "versions": {"torch": torch.__version__, "timm": timm.__version__},
        "cores_of_a_machine_with_eight": CORES_OF_EIGHT,
        "steps": [{"student": s, "teacher": t, "cached": c, **row} for (s, t, c), row in steps.items()],
        "rows": rows,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu_feed.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (options.out / "gpu_feed.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


def feed_rate(point: str) -> dict[str, Any]:
    """Images that a data worker makes in a second of one core's time."""
    found = json.loads((RESULTS / "train_speed.json").read_text(encoding="utf-8"))["points"][point]
    side = found["sides"]["lowzoo, views alone"]
    return {
        "images_per_core_s": round(side["images_per_processor_s"] / side["workers_share"], 1),
        "from": f"train_speed.json, {point}, lowzoo, views alone: images_per_processor_s / workers_share",
        "on": found.get("processor", ""),
    }


def counted(student: str, teacher: str, cached: bool) -> dict[str, Any]:
    """Operations of a step for one image, and the memory of a batch of 1,024, from steps of two sizes."""
    flops, peaks = [], []
    for images in PROBE:
        with DeviceTrace() as trace:
            views = {"side": 224, "local": 96}
            step, network = make_step(
                student, teacher, torch.device("cuda"), images, **views, cached=cached, compile_=False, locals_=6
            )
            trace.hold(network)
            step()
            trace.reset()
            step()
            del step
        flops.append(trace.flops)
        peaks.append(trace.peak)
    few, many = PROBE
    per_image = (peaks[1] - peaks[0]) / (many - few)
    return {
        "flops_per_image": round((flops[1] - flops[0]) / (many - few)),
        "peak_gb_at_1024": round((peaks[0] + (BATCH - few) * per_image) / 1e9, 1),
    }


def as_markdown(result: dict[str, Any]) -> str:
    """The tables."""
    inputs = result["inputs"]
    lines = [
        "# What feeds a GPU",
        "",
        f"Computed, not measured, by `gpu_feed.py`: appetite = {inputs['fraction_of_peak']} x peak / operations of a "
        "step for one image; one core feeds "
        f"{inputs['feed']['images_per_core_s']} images/s, measured "
        f"({inputs['feed']['from']}). Views: {inputs['views']} px. Eight GPUs starve where they would take "
        f"more than the {result['cores_of_a_machine_with_eight']} cores of their machine. GPU hours are those of a "
        "100-epoch RoB run on ImageNet-1k; a first epoch that fills a cache is not in them.",
        "",
        "| student | teacher | cached | GFLOP an image | GB at batch 1,024 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for step in result["steps"]:
        lines.append(
            f"| {step['student']} | {step['teacher']} | {_yes(step['cached'])} | {step['flops_per_image'] / 1e9:.1f} | "
            f"{step['peak_gb_at_1024']} |"
        )
    lines += [
        "",
        "| GPU | student | teacher | cached | images/s | cores for one GPU | eight starve | GPU hours |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        lines.append(
            f"| {row['gpu']} | {row['student']} | {row['teacher']} | {_yes(row['cached'])} | {row['images_per_s']} | "
            f"{math.ceil(row['cores_per_gpu'])} | {_yes(row['eight_starve'])} | {row['gpu_hours']} |"
        )
    return "\n".join(lines) + "\n"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    main()
