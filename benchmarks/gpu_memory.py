"""Arithmetic and peak memory of a training step on a GPU, traced without one: what `lowzoo train` goes by.

    python benchmarks/gpu_memory.py [--batch 1024] [--out DIR]

RoB-DINO with 2 x 224 and 8 x 96 px views in bf16, students beside a teacher shaped as ViT-B/16 with a head of 65,536
outputs: the step of a run, with the finishing of views and the optimiser, on tensors without values
(`lowzoo.train.runs.traced_step`). `parts` is in how many parts `lowzoo train` then goes through the batch on a GPU of
so much memory, of which it leaves a fifth free. Computed, not measured: fragments of the allocator and what libraries
take for themselves are not in it, and no GPU has been held against it yet.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch

from lowzoo.data.source import open_source
from lowzoo.train.heads import HeadSpec
from lowzoo.train.networks.encoder import create_student
from lowzoo.train.runs.traced_step import traced_step
from lowzoo.train.settings.config import resolve
from lowzoo.train.teachers import Teacher, TeacherFacts

STUDENTS = ("vit_tiny", "mobilenetv3_large", "resnet18")
TEACHER, OUTPUTS = "vit_base_patch16_224", 65_536
GPUS_GB = (24, 40, 80, 141)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    rows = {student: one(student, options.batch) for student in STUDENTS}
    result = {
        "computed": True,
        "batch": options.batch,
        "teacher": TEACHER,
        "views": "2 x 224, 8 x 96",
        "versions": {"torch": torch.__version__, "timm": timm.__version__},
        "rows": rows,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu_memory.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (options.out / "gpu_memory.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


def one(student: str, images: int) -> dict[str, Any]:
    settings = [f"student={student}", f"batch_size={images}", "epochs=100", "precision=bf16"]
    config = resolve("rob_dino", settings=settings)
    with torch.device("meta"):  # its weights say nothing here
        backbone = timm.create_model(TEACHER, num_classes=0)
        head = HeadSpec(kind="dino").build(backbone.num_features, OUTPUTS)
    facts = TeacherFacts(TEACHER, TEACHER, "random", "none", "", prototypes=OUTPUTS)
    teacher = Teacher(backbone.to_empty(device="cpu"), head.to_empty(device="cpu"), facts)
    autocast = partial(torch.autocast, "cuda", torch.bfloat16)
    began = time.monotonic()
    found = traced_step(config, create_student(config), teacher, open_source(None), "bf16", autocast, images)
    memory = found.memory
    return {
        "gflop_per_image": round(found.flops / images / 1e9, 1),
        "peak_gb": round(memory.peak(images) / 1e9, 1),
        "fixed_gb": round(memory.fixed / 1e9, 2),
        "mb_per_image": round(memory.per_image / 1e6, 1),
        "parts": {f"{gb} GB": memory.parts(images, gb * 10**9, 0) for gb in GPUS_GB},
        "seconds_to_trace": round(time.monotonic() - began, 1),
    }


def as_markdown(result: dict[str, Any]) -> str:
    """The table."""
    gpus = [f"{gb} GB" for gb in GPUS_GB]
    lines = [
        "# What a training step takes of a GPU",
        "",
        f"Computed, not measured, by `gpu_memory.py`: RoB-DINO, views {result['views']} px, bf16, beside a teacher "
        f"shaped as {result['teacher']}, {result['batch']} images in a step. `lowzoo train` goes by the same trace "
        "when it divides a batch; the last columns say into how many parts.",
        "",
        "| student | GFLOP an image | GB at the peak | GB that do not grow | MB an image | "
        + " | ".join(f"parts on {gpu}" for gpu in gpus)
        + " |",
        "|" + " --- |" * (5 + len(gpus)),
    ]
    for student, row in result["rows"].items():
        parts = " | ".join(str(row["parts"][gpu]) for gpu in gpus)
        lines.append(
            f"| {student} | {row['gflop_per_image']} | {row['peak_gb']} | {row['fixed_gb']} | {row['mb_per_image']} | "
            f"{parts} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
