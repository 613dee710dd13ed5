"""What `lowzoo train RECIPE --student S` gives in a few minutes, with settings chosen for the data: k-NN before, after.

    python benchmarks/default_settings.py --data tiny-imagenet-100 --work DIR [--only WORD ...] [--set KEY=VALUE ...]

A row is a recipe, a student and a set of images: the embedded sample set for 3 minutes of two cores, 5,000 photographs
(every 10th of tiny-imagenet-100's training images; 1,667 of its validation images as queries) for 6, or 600 of them
for 2. The minutes are processor time of one thread, 1.7 seconds for one of two cores, so that rows can be made beside
other work; that makes a step dearer by up to a half, and a row's steps fewer. Each row is trained in its own folder of
`--work`; a command that was ended goes on where it was. `--set` tries other settings, and `--minutes` other minutes,
for an ablation: name it by `--label`. Rows are in results/default_settings.json; ablations go to
results/default_settings_ablations.json.

    python benchmarks/default_settings.py --tables

writes, from the rows alone, results/default_settings.md and `lowzoo/catalog/learned.toml`, from which `lowzoo train`
says beforehand where nothing like a run has learned in its time.
"""

import argparse
import json
import math
import os
import statistics
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from processor_minutes import config_of, holds_run
from tiny_imagenet_part import part

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.catalog.learned import LearnedRow
from lowzoo.data.source import ImageSource, open_set
from lowzoo.system.machine import versions
from lowzoo.train.defaults.prospects import caution
from lowzoo.train.monitoring.metrics import read_metrics
from lowzoo.train.monitoring.progress import Progress
from lowzoo.train.recipes.facts import Facts, kind_of
from lowzoo.train.runs.loop import Run

RECIPES = ("rob", "seed", "sslight")
STUDENTS = ("vit_tiny", "mobilenetv2", "mobilenetv3_large", "resnet18", "efficientnet_b0")
MINUTES = {"sample": 3, "photos": 6, "few": 2}
# Every how many-th of the training photographs.
EVERY = {"photos": 10, "few": 83}
PICTURES = {"sample": "drawings", "photos": "photographs", "few": "photographs"}
RESULTS = Path(__file__).parent / "results"
CATALOG = Path(__file__).parents[1] / "lowzoo" / "catalog" / "learned.toml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the parquet files")
    parser.add_argument("--work", type=Path, help="run folders")
    parser.add_argument("--tables", action="store_true", help="write table and catalog alone")
    parser.add_argument("--only", nargs="*", default=(), help="rows whose name holds all of these words")
    parser.add_argument("--set", nargs="*", default=(), metavar="KEY=VALUE")
    parser.add_argument("--label", default="")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="other minutes, for an ablation")
    words = parser.parse_args()
    if words.tables:
        _tables()
        return
    if not words.data or not words.work:
        parser.error("--data and --work are needed")
    if (words.set or words.minutes) and not words.label:
        parser.error("--set and --minutes are for an ablation: name it by --label")
    torch.set_num_threads(1)
    file = RESULTS / ("default_settings_ablations.json" if words.label else "default_settings.json")
    for images in MINUTES:
        for recipe in RECIPES:
            for student in STUDENTS:
                for seed in range(words.seeds):
                    name = f"{images}-{recipe}-{student}-{seed}"
                    if all(word in name for word in words.only):
                        key = f"{name}-{words.label}" if words.label else name
                        row(file, key, images, recipe, student, [f"seed={seed}", *words.set], words)


def row(
    file: Path, key: str, images: str, recipe: str, student: str, settings: list[str], words: argparse.Namespace
) -> None:
    """Train one row, if it is not there, and add it to the file."""
    rows: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if key in rows:
        return
    source, queries = _images(images, words.data)
    folder = words.work / key
    named = [f"student={student}", "monitor_queries=2000", *settings]
    config = config_of(folder, recipe, source, words.minutes or MINUTES[images], named)
    began = time.process_time()
    run = Run(config, source, queries, folder, resume=holds_run(folder))
    loss, ended = None, {}
    try:
        result = run.train(Progress())
        assert result is not None
        loss = result.loss
    except LowzooError as error:
        if not words.label:
            raise
        ended = {"ended": f"at step {run.step}: {error.message}"}
    knns = [row["knn"] for row in read_metrics(folder / "metrics.jsonl") if "knn" in row]
    queried = min(len(queries), config.monitor_queries)
    rows = json.loads(file.read_text()) if file.exists() else {}
    rows[key] = {
        "images": len(source),
        "queries": queried,
        "settings": settings,
        "minutes": words.minutes or MINUTES[images],
        "steps": config.steps,
        "batch_size": config.batch_size,
        "precision": run.precision,
        "processor_seconds": round(time.process_time() - began),
        "knn_init": knns[0],
        "knn": knns[-1],
        "knn_on_the_way": knns,
        "sampling_error": round(_sampling_error(knns[-1], queried), 2),
        "loss": loss,
        **ended,
        "versions": versions(),
        "cores": os.cpu_count(),
    }
    file.write_text(json.dumps(rows, indent=1) + "\n")
    print(key, f"{knns[0]:.1f} -> {knns[-1]:.1f} %, {config.steps} steps", flush=True)


def _sampling_error(knn: float, queries: int) -> float:
    """Of an accuracy, both in per cent."""
    return 100 * math.sqrt(knn / 100 * (1 - knn / 100) / queries)


def _images(images: str, data: Path) -> tuple[ImageSource, ImageSource]:
    if images == "sample":
        both = open_set(None)
        return both.open("train"), both.open("validation")
    chosen = np.arange(0, 50_000, EVERY[images])[: 50_000 // EVERY[images] // 100 * 100]
    return part(data, "train", chosen), part(data, "validation", np.arange(0, 5_000, 3))


def _tables() -> None:
    """For people: all rows. For the package: the mean over the seeds of each pair."""
    rows: dict[str, Any] = json.loads((RESULTS / "default_settings.json").read_text())
    lines = [
        "# What the default settings learn in minutes",
        "",
        "k-NN top-1 (k = 20) on held-out images before and after, per cent (`benchmarks/default_settings.py`).",
        "Minutes are processor time, as much as two cores give in them. Rows were made beside other work, which makes",
        "a step dearer by up to a half: steps of one pair differ by its seeds for that reason alone.",
        "Learned: it rose by more than three standard errors of the rise, those of both accuracies together. Said:",
        "`lowzoo train` says beforehand that it may not, by the mean over the seeds.",
        "",
        "| images | recipe | student | seed | minutes | precision | steps | before | after | error of rise | learned "
        "| said |",
        "| --- | --- | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    catalog_lines = ["# Made by `benchmarks/default_settings.py --tables`.", ""]
    known = []
    for key, row in rows.items():
        images, recipe, student, _ = key.rsplit("-", 3)
        fields = {
            "pictures": PICTURES[images],
            "images": row["images"],
            "recipe": recipe,
            "student": student,
            "architecture": catalog.student_architecture(student, recipe),
            "kind": kind_of(catalog.student_architecture(student, recipe)),
            "minutes": MINUTES[images],
            "seen": row["steps"] * row["batch_size"],
            "before": row["knn_init"],
            "after": row["knn"],
            "error": round(math.hypot(row["sampling_error"], _sampling_error(row["knn_init"], row["queries"])), 2),
            "runs": 1,
        }
        known.append((key, row, LearnedRow(name=key, **fields)))
    pairs: dict[str, list[LearnedRow]] = {}
    for key, _, entry in known:
        pairs.setdefault(key.rpartition("-")[0], []).append(entry)
    measured = [_mean(pair, entries) for pair, entries in pairs.items()]
    for entry in measured:
        fields = {name: value for name, value in asdict(entry).items() if name != "name"}
        catalog_lines += [f"[{entry.name}]", *(f"{name} = {json.dumps(value)}" for name, value in fields.items()), ""]
    for key, row, entry in known:
        facts = Facts(
            entry.recipe, entry.images, 64, entry.architecture, gpu=False, drawings=entry.pictures == "drawings"
        )
        said = caution(facts, init="", minutes=entry.minutes, seen=None, rows=measured)
        lines.append(
            f"| {entry.images:,} {entry.pictures} | {entry.recipe} | {entry.student} | {key[-1]} | {entry.minutes:g} "
            f"| {row.get('precision', 'fp32')} | {row['steps']} | {entry.before:.1f} | {entry.after:.1f} "
            f"| {entry.error:.1f} | {'yes' if entry.learned else 'no'} | {'yes' if said else 'no'} |"
        )
    lines += _ablations()
    (RESULTS / "default_settings.md").write_text("\n".join(lines) + "\n")
    CATALOG.write_text("\n".join(catalog_lines))


def _mean(pair: str, entries: list[LearnedRow]) -> LearnedRow:
    """One for all seeds; see `LearnedRow` for its error."""
    mean = {
        name: statistics.mean(getattr(entry, name) for entry in entries)
        for name in ("before", "after", "error", "seen")
    }
    root = math.sqrt(len(entries))
    spread = statistics.stdev(entry.after - entry.before for entry in entries) if len(entries) > 1 else 0.0
    error = max(mean["error"], spread) / root
    return replace(
        entries[0],
        name=pair,
        seen=round(mean["seen"]),
        before=round(mean["before"], 3),
        after=round(mean["after"], 3),
        error=round(error, 2),
        runs=len(entries),
    )


def _ablations() -> list[str]:
    """Runs with other settings, of whatever minutes."""
    file = RESULTS / "default_settings_ablations.json"
    rows: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    lines = [
        "",
        "## With other settings",
        "",
        "What the label says was changed; the settings stand in `default_settings_ablations.json`. Steps differ with",
        "what a step costs, and by up to a half with other work on the machine, which takes the caches.",
        "",
        "| run | minutes | steps | before | on the way | after | sampling error |",
        "| --- | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for key, row in rows.items():
        minutes = row.get("minutes", MINUTES[key.split("-")[0]])
        way = ", ".join(f"{knn:.1f}" for knn in row["knn_on_the_way"][1:-1])
        if "ended" in row:
            way += f"; ended {row['ended']}"
        lines.append(
            f"| {key} | {minutes:g} | {row['steps']} | {row['knn_init']:.1f} | {way} | {row['knn']:.1f} "
            f"| {row['sampling_error']:.1f} |"
        )
    return lines


if __name__ == "__main__":
    main()
