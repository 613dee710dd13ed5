"""Peak memory of a training step beside the estimate that is made before it, on a processor.

    python benchmarks/train_memory.py [--only NAME ...]

Each pair of a student and its views trains three steps in a process of its own, without data workers and monitors;
the peak is that process's largest resident memory. results/train_memory.json has the bytes and their ratio.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from lowzoo.data.source import open_set
from lowzoo.system.machine import versions
from lowzoo.system.memory import peak_memory_mb
from lowzoo.train.kernels.attention import attend_by_matmuls
from lowzoo.train.monitoring.progress import StepClock
from lowzoo.train.networks.encoder import create_student
from lowzoo.train.optim.updates import precision_of
from lowzoo.train.runs.loop import Run
from lowzoo.train.runs.memory import estimate
from lowzoo.train.settings.config import resolve

ROB = ["loss=dino", "teacher=rob_vit_tiny", "student_head.layers=2", "student_head.bottleneck=128"]
# preset layers, settings
PAIRS: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "vit_tiny, 2 x 224 and 2 x 96": (("rob_dino",), [*ROB, "student=vit_tiny", "view.local.count=2"]),
    "vit_tiny, 2 x 64 and 2 x 32": (
        ("rob_dino",),
        [*ROB, "student=vit_tiny", "view.global.size=64", "view.local.size=32", "view.local.count=2"],
    ),
    "vit_tiny, 2 x 224 and 2 x 96, bf16": (
        ("rob_dino",),
        [*ROB, "student=vit_tiny", "view.local.count=2", "precision=bf16"],
    ),
    "resnet18, 1 x 224": (("seed",), ["student=resnet18", "teacher=rob_vit_tiny", "queue=1024"]),
    "efficientnet_b0, 1 x 128": (
        ("seed",),
        ["student=efficientnet_b0", "teacher=rob_vit_tiny", "queue=1024", "view.global.size=128"],
    ),
    "mobilenetv2, 2 x 96 and 2 x 64": (
        ("sslight_moco_cnn", "sslight_views_sslight"),
        ["student=mobilenetv2", "queue=1024", "view.global.size=96", "view.local.size=64", "view.local.count=2"],
    ),
    "mobilenetv3_large, 1 x 224": (("seed",), ["student=mobilenetv3_large", "teacher=rob_vit_tiny", "queue=1024"]),
}
COMMON = ["steps=3", "workers=0", "monitor_epochs=0", "log=none", "device=cpu", "batch_size=32", "optimizer=adamw"]
RESULT = Path(__file__).parent / "results" / "train_memory.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(PAIRS))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.child:
        print(json.dumps(measured(words.child)))
        return
    rows = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else {}
    for name in words.only:
        command = [sys.executable, __file__, "--child", name]
        rows[name] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{name}: estimate {rows[name]['estimate_mb']} MB, peak {rows[name]['peak_mb']} MB", flush=True)
        report = {"cores": os.cpu_count(), "versions": versions(), "batch_size": 32, "rows": rows}
        RESULT.write_text(json.dumps(report, indent=1) + "\n")


def measured(name: str) -> dict[str, float]:
    """Estimate and peak of one pair, in MB."""
    layers, settings = PAIRS[name]
    config = resolve(layers, settings=[*settings, *COMMON])
    with tempfile.TemporaryDirectory() as scratch:
        source = open_set(None).open("train")
        run = Run(config, source, None, Path(scratch) / "run")
        device = torch.device("cpu")
        _, autocast = precision_of(config, device)
        student = create_student(config)
        if config.precision == "bf16":
            attend_by_matmuls(student)
        expected = estimate(config, student, 1024, device, autocast).peak(config.batch_size)
        for _ in run.steps(StepClock(device)):
            pass
    peak = peak_memory_mb()
    assert peak is not None
    return {"estimate_mb": round(expected / 1e6), "peak_mb": round(peak), "ratio": round(peak / expected * 1e6, 3)}


if __name__ == "__main__":
    main()
