"""Why DINO on MobileNetV3-Large collapsed on photographs: the same run with one thing changed, over its first steps.

    python benchmarks/dino_collapse.py --data DIR --work DIR [--only VARIANT ...]

SSLight's baseline DINO for CNNs with views of 64 px, batches of 32 and AdamW, on 25,000 photographs (the first file of
tiny-imagenet-100); it is ended after its first 160 of 781 steps. The loss of uniform outputs is ln 1024 = 6.931: a run
that comes to it and stays has collapsed. A variant whose folder in `--work` holds so many steps is not trained again.
results/dino_collapse.json has the losses.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from lowzoo.system.machine import versions
from lowzoo.train.monitoring.metrics import read_metrics

STEPS = 160
NO_JITTER = ["--set", "view.global.jitter=[0.0,0.0,0.0,0.0]", "--set", "view.local.jitter=[0.0,0.0,0.0,0.0]"]
VARIANTS: dict[str, list[str]] = {
    "fp32": [],
    "bf16": ["--precision", "bf16"],
    "lr-third": ["--set", "lr=9e-5"],
    "headbn-off": ["--set", "student_head.batch_norm=false"],
    "zero-init": ["--set", "zero_init_residual=true"],
    "jitter-off": NO_JITTER,
    "locals-64": ["--set", "view.local.size=64"],
    "ema-0.999": ["--set", "ema=0.999"],
    "mobilenetv2": ["--student", "mobilenetv2"],
    "resnet18": ["--student", "resnet18"],
}
SETTINGS = [
    *["view.global.size=64", "view.local.size=32", "view.local.count=2", "checkpoint_steps=100", "workers=0"],
    *["optimizer=adamw", "schedule=cosine", "update=step", "warmup=0.1", "lr=2.83e-4", "lr_batch=0", "lr_start=0"],
    *["lr_end=1e-6", "weight_decay=0.04", "weight_decay_end=0.04", "clip_grad=1.0", "decay_rule=one_d"],
    *["student_head.hidden=512", "sync_bn=false", "ema=0.99", "prototypes=1024", "teacher_temperature=0.04"],
    *["monitor_bank=2000", "monitor_queries=500"],
]
RESULT = Path(__file__).parent / "results" / "dino_collapse.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the parquet files")
    parser.add_argument("--work", type=Path, required=True, help="run folders")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=VARIANTS)
    words = parser.parse_args()
    half = words.work.absolute() / "half"
    half.mkdir(parents=True, exist_ok=True)
    for name, file in (("train", "train-00000-of-00002"), ("validation", "validation")):
        if not (link := half / f"{name}.parquet").exists():
            link.symlink_to((words.data / f"{file}.parquet").absolute())
    rows = json.loads(RESULT.read_text())["losses"] if RESULT.exists() else {}
    for variant in words.only:
        found = losses(words.work / variant)
        if not reached(found):
            train(variant, half, words.work / variant)
            found = losses(words.work / variant)
        rows[variant] = {step: loss for step, loss in found.items() if step <= STEPS}
        print(variant, " ".join(f"{step}: {loss:.3f}" for step, loss in rows[variant].items() if step % 40 == 0))
        report = {"versions": versions(), "cores": os.cpu_count(), "settings": SETTINGS, "variants": VARIANTS}
        RESULT.write_text(json.dumps(report | {"losses": rows}, indent=1) + "\n")


def train(variant: str, data: Path, folder: Path) -> None:
    """Train until so many steps are logged, or go on with what there is."""
    command = [str(Path(sys.executable).with_name("lowzoo")), "train", "sslight", "--student", "mobilenetv3_large"]
    command += ["--method", "dino", "--preset", "baseline", "--epochs", "1", "--batch-size", "32"]
    command += ["--precision", "fp32", "--data", str(data), "--out", str(folder), "--log", "none"]
    command += [word for setting in SETTINGS for word in ("--set", setting)] + VARIANTS[variant]
    if (folder / "config.toml").exists():
        command.append("--resume")
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while running.poll() is None and not reached(losses(folder)):
        time.sleep(2)
    running.kill()
    if running.wait() > 0:
        raise SystemExit(f"{variant} ended with status {running.returncode}")


def losses(folder: Path) -> dict[int, float]:
    """Losses by step."""
    file = folder / "metrics.jsonl"
    return {row["step"]: round(row["loss"], 4) for row in read_metrics(file) if "loss" in row} if file.exists() else {}


def reached(found: dict[int, float]) -> bool:
    """Whether so many steps were made."""
    return max(found, default=0) >= STEPS


if __name__ == "__main__":
    main()
