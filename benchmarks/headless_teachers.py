"""Which objective suits a teacher that was published without a head? k-NN of students in the same minutes.

    python benchmarks/headless_teachers.py --data tiny-imagenet-100 --work DIR
        [--teacher MODEL ...] [--minutes 3] [--only VARIANT ...]
    python benchmarks/headless_teachers.py --tables

5,000 photographs (every 10th of tiny-imagenet-100's training images; 1,667 of its validation images as queries), one
student, the settings that `lowzoo train` chooses for that teacher, and in each variant one thing that is not as they
have it. `regression` is no recipe of the package: the student's head ends in the teacher's embedding, and the loss is
1 - cosine. `-embedding` takes the teacher's whole embedding, centred: all principal axes, none of them whitened; the
others have the leading 128, half whitened.

Minutes are processor time of one thread, as much as two cores give in them (1.7 seconds for one), of steps alone.
Results: results/headless_teachers.json and .md.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import documents
import numpy as np
import torch
from processor_minutes import config_of, holds_run
from tiny_imagenet_part import part
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from lowzoo.data.source import ImageSource
from lowzoo.train.kernels.precision import full
from lowzoo.train.monitoring.metrics import read_metrics
from lowzoo.train.monitoring.progress import Progress
from lowzoo.train.networks.encoder import MultiViewEncoder
from lowzoo.train.networks.step import Method, StepContext, Views
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs.build import build_method
from lowzoo.train.runs.loop import Run
from lowzoo.train.teacher_cache.frozen import FrozenTeacher

OUT = Path(__file__).parent / "results" / "headless_teachers.json"
STUDENT = "mobilenetv3_large"
_EMBEDDING = ("fitted_whitening=0", "fitted_bottleneck=4096")
# Recipe and settings. SEED's student ends in the teacher's embedding, as that of a regression does.
VARIANTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "rob": ("rob", ()),
    "rob-prototypes-256": ("rob", ("prototypes=256",)),
    "rob-whitening-0": ("rob", ("fitted_whitening=0",)),
    "rob-whitening-1": ("rob", ("fitted_whitening=1",)),
    "seed": ("seed", ()),
    "seed-embedding": ("seed", _EMBEDDING),
    "regression": ("seed", ()),
    "regression-embedding": ("seed", _EMBEDDING),
}


class Regression(Method):
    """The student's embedding has the direction of the teacher's.

    Args:
        student: Encoder whose head ends as wide as the teacher's embedding.
        teacher: Frozen.
    """

    def __init__(self, student: MultiViewEncoder, teacher: FrozenTeacher) -> None:
        super().__init__(student)
        self.teacher = teacher
        self.outputs = 0

    def loss(self, views: Views, now: StepContext) -> Tensor:
        """Mean of 1 - cosine over the images."""
        with now.clock.part("teacher"), torch.no_grad():
            wanted = self.teacher.embed(views, now)[0]
        found = full(self.encode(views.groups, None, now).scores)[0]
        return (1 - cosine_similarity(found, wanted, dim=-1)).mean()


def build_regression(
    config: TrainConfig, backbone: nn.Module, teacher: FrozenTeacher | None, device: torch.device, *, processes: int = 1
) -> Method:
    """SEED's student with another loss."""
    assert teacher is not None
    student = build_method(config, backbone, teacher, device, processes=processes).student
    return Regression(student, teacher).to(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the parquet files")
    parser.add_argument("--work", type=Path, help="run folders")
    parser.add_argument("--tables", action="store_true", help="write the table alone")
    parser.add_argument("--teacher", nargs="+", default=["mobilenetv2_supervised"], metavar="MODEL")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="VARIANT")
    words = parser.parse_args()
    if words.tables:
        documents.write(OUT, documents.read(OUT), _table)
        return
    if not words.data or not words.work:
        parser.error("--data and --work are needed")
    torch.set_num_threads(1)
    source = part(words.data, "train", np.arange(0, 50_000, 10))
    queries = part(words.data, "validation", np.arange(0, 5_000, 3))
    for teacher in words.teacher:
        for variant in words.only:
            key = f"{teacher}-{variant}-{words.minutes:g}min"
            if key not in documents.read(OUT, {"rows": {}})["rows"]:
                row = _row(teacher, variant, words.minutes, source, queries, words.work / key)
                document = documents.read(OUT, {"rows": {}})
                document["rows"][key] = row | documents.circumstances() | {"cores": os.cpu_count()}
                document["versions"] = documents.versions()
                documents.write(OUT, document, _table)
                print(key, row["knn_on_the_way"], row["steps"], flush=True)


def _row(
    teacher: str, variant: str, minutes: float, source: ImageSource, queries: ImageSource, folder: Path
) -> dict[str, Any]:
    recipe, settings = VARIANTS[variant]
    named = [f"teacher={teacher}", f"student={STUDENT}", "monitor_queries=2000", *settings]
    config = config_of(folder, recipe, source, minutes, named)
    build = build_regression if variant.startswith("regression") else build_method
    Run(config, source, queries, folder, resume=holds_run(folder), build=build).train(Progress())
    knns = [row["knn"] for row in read_metrics(folder / "metrics.jsonl") if "knn" in row]
    error = 100 * np.sqrt(knns[-1] / 100 * (1 - knns[-1] / 100) / len(queries))
    return {
        "teacher": teacher,
        "variant": variant,
        "minutes": minutes,
        "steps": config.steps,
        "knn_on_the_way": knns,
        "sampling_error": round(float(error), 2),
        "config": (folder / "config.toml").read_text(),
    }


def _table(document: dict[str, Any]) -> str:
    lines = [
        "# Objectives for teachers without a head",
        "",
        f"k-NN top-1 of {STUDENT} on 5,000 photographs, per cent (`benchmarks/headless_teachers.py`); one seed.",
        "",
        "| teacher | objective | minutes | steps | before | on the way | after | sampling error |",
        "| --- | --- | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    order = list(VARIANTS)
    for row in sorted(document["rows"].values(), key=lambda row: (row["teacher"], order.index(row["variant"]))):
        knns = [f"{knn:.1f}" for knn in row["knn_on_the_way"]]
        lines.append(
            f"| {row['teacher']} | {row['variant']} | {row['minutes']:g} | {row['steps']} | {knns[0]} "
            f"| {', '.join(knns[1:-1])} | {knns[-1]} | {row['sampling_error']:.1f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
