"""What a finished run leaves: weights, head, facts, card and curves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lowzoo.catalog import student_architecture
from lowzoo.data.source import ImageSource
from lowzoo.train import run_folder
from lowzoo.train.config import RobConfig
from lowzoo.train.curves import draw_curves, read_metrics
from lowzoo.train.encoder import MultiViewEncoder, feature_width
from lowzoo.train.head_files import save_head
from lowzoo.train.machine import device_name, versions
from lowzoo.train.teachers import TeacherFacts


@dataclass(frozen=True)
class RunResult:
    """What a finished run gives.

    Args:
        folder: The run folder.
        loss: Of the last logged step, nats; None if no step was made.
        knn: Monitor's top-1 in per cent at the end, None without labels.
        knn_init: The same at initialisation.
        facts: The content of `run.json`.
    """

    folder: Path
    loss: float | None
    knn: float | None
    knn_init: float | None
    facts: dict[str, Any]


def conclude(
    folder: Path,
    config: RobConfig,
    student: MultiViewEncoder,
    teacher: TeacherFacts,
    source: ImageSource,
    device: torch.device,
    *,
    steps: int,
    bf16: bool,
    images_per_s: float | None,
    unreadable: int,
) -> RunResult:
    """Write everything that outlives the run into its folder.

    Args:
        folder: Run folder, with `metrics.jsonl`.
        config: Of the run.
        student: Trained.
        teacher: Facts of the teacher.
        source: Training images.
        device: Where it ran.
        steps: Steps of the whole run.
        bf16: Whether the networks computed in bf16.
        images_per_s: Over this part of the run, None if it made no step.
        unreadable: Images that could not be read.
    """
    rows = read_metrics(folder / "metrics.jsonl")
    knns = [row["knn"] for row in rows if "knn" in row]
    losses = [row["loss"] for row in rows if "loss" in row]
    architecture = student_architecture(config.student, "rob")
    features = feature_width(student.backbone, config.global_size)
    run_folder.save_student(folder, student.backbone, architecture, config.global_size, features)
    save_head(folder / "head.safetensors", student.head, config.student_head, features, teacher.prototypes)
    method = f"RoB-{config.loss.upper()}"
    result = RunResult(
        folder,
        losses[-1] if losses else None,
        knns[-1] if knns else None,
        knns[0] if knns else None,
        {
            "method": method + (" on a fitted head (extension)" if teacher.extension else ""),
            "student": config.student,
            "architecture": architecture,
            "size": config.global_size,
            "features": features,
            "teacher": teacher.as_dict(),
            "data": {
                "name": source.name,
                "images": len(source),
                "fingerprint": source.fingerprint(),
                "unreadable": unreadable,
            },
            "epochs": config.epochs,
            "steps": steps,
            "batch_size": config.batch_size,
            "precision": "bf16" if bf16 else "fp32",
            "device": device_name(device),
            "images_per_s": images_per_s,
            "result": {
                "loss": losses[-1] if losses else None,
                "knn": knns[-1] if knns else None,
                "knn_init": knns[0] if knns else None,
            },
            "versions": versions(),
        },
    )
    run_folder.write_facts(folder, result.facts)
    draw_curves(rows, folder / "curves.png", f"{method}: {config.student} from {config.teacher}")
    return result
