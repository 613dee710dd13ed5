"""Evaluate finished rows and write the table.

    python benchmarks/tiny_imagenet/table.py evaluate --data DIR --work DIR [--form gpu] [--seconds 520]
    python benchmarks/tiny_imagenet/table.py write --work DIR [--form gpu] [--out benchmarks/results/tiny_imagenet]

`evaluate` runs `lowzoo eval` on every finished run and keeps each document beside it; what is there is not done again,
so the command may be ended and repeated. The columns: k-NN (k = 20); a linear probe on the network's own features, of
one penalty for all rows; MSN's low-shot regression on 1 % and 10 % of the labels; and k-NN on the drawings that ship
with lowzoo, which no row trained with `--data` has seen. `write` makes table.json, table.md and table.png from what is
there, and of what `cost.py` measured; a cell without a figure says so, and the picture marks where each network stood
before training, which the training's own monitor measures on fewer images and only where its data has a validation
split.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rows import FORMS, LOWZOO, MISSING, row_names

from lowzoo.bench.host.machine import this_device
from lowzoo.system.machine import versions
from lowzoo.train.monitoring.metrics import read_metrics

# Words of `lowzoo eval`, and whether the photographs are meant; otherwise it is the embedded sample set.
PROTOCOLS: dict[str, tuple[list[str], bool]] = {
    "knn": (["knn", "--k", "20"], True),
    "linear": (["linear", "--features", "own", "--weight-decay", "1e-4"], True),
    "share1": (["lowshot", "--protocol", "msn", "--shots", "1", "--share", "0.01"], True),
    "share10": (["lowshot", "--protocol", "msn", "--shots", "1", "--share", "0.1"], True),
    "drawings": (["knn", "--k", "20"], False),
}
COLUMNS = ("k-NN, k = 20", "linear", "1 % labels", "10 % labels", "k-NN, drawings")


def finished(work: Path, row: str) -> list[Path]:
    """Run folders of a row, one a seed."""
    return sorted(path.parent for path in work.glob(f"{row}.*/run.json"))


def evaluate(words: argparse.Namespace) -> int:
    """Evaluate what has not been evaluated; status 3 when time is up before."""
    deadline = time.monotonic() + words.seconds
    for row in row_names(FORMS[words.form]):
        for folder in finished(words.work, row):
            for name, (protocol, on_photographs) in PROTOCOLS.items():
                out = folder / f"eval.{name}.json"
                if out.exists():
                    continue
                if time.monotonic() > deadline:
                    return 3
                command = [LOWZOO, "eval", protocol[0], str(folder), *protocol[1:]]
                command += ["--out", str(out), *(["--data", words.data] if words.data and on_photographs else [])]
                done = subprocess.run(command, capture_output=True, text=True)
                said = "done" if not done.returncode else done.stderr.strip().splitlines()[-1]
                print(f"{folder.name} {name}: {said}", flush=True)
    return 0


def write(words: argparse.Namespace) -> int:
    """Write both files."""
    table: dict[str, Any] = {}
    for row in row_names(FORMS[words.form]):
        folders = finished(words.work, row)
        cells: dict[str, Any] = {}
        for name in PROTOCOLS:
            files = [folder / f"eval.{name}.json" for folder in folders if (folder / f"eval.{name}.json").exists()]
            values = [_figure(json.loads(file.read_text())) for file in files]
            if values:
                spread = statistics.stdev(values) if len(values) > 1 else None
                cells[name] = {"mean": statistics.mean(values), "spread": spread, "seeds": len(values)}
        facts = [json.loads((folder / "run.json").read_text()) for folder in folders]
        before = [found[0] for folder in folders if (found := monitored(folder))]
        seconds = [json.loads((words.work / f"{folder.name}.seconds.json").read_text()) for folder in folders]
        table[row] = {
            "cells": cells,
            "knn_before_training": before,
            "runs": facts,
            "seconds": [sum(parts) for parts in seconds],
        }
    words.out.mkdir(parents=True, exist_ok=True)
    document = {"form": words.form, "settings": asdict(FORMS[words.form]), "rows": table, "missing": MISSING}
    file = words.work / "cost.json"
    cost = json.loads(file.read_text()) if file.exists() else {"rows": {}}
    document |= {"cost": cost, "device": this_device().model_dump(), "versions": versions()}
    # Runs name their teacher by its path, which is nobody else's.
    text = json.dumps(document, indent=2).replace(f"{words.work}/", "")
    (words.out / "table.json").write_text(text + "\n")
    (words.out / "table.md").write_text("\n".join([*_markdown(words.form, table), *_cost_lines(cost)]))
    draw(table, words.out / "table.png")
    return 0


def monitored(folder: Path) -> list[float]:
    """k-NN of a run while it trained, in %: 10,000 images as bank, 2,000 as queries."""
    return [row["knn"] for row in read_metrics(folder / "metrics.jsonl") if "knn" in row]


def draw(table: dict[str, Any], path: Path) -> None:
    """k-NN of every row, the students side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    found = {row: facts for row, facts in table.items() if "knn" in facts["cells"]}
    students = sorted({row.partition("-")[2] for row in found})
    figure, axis = plt.subplots(figsize=(7, 0.6 + 0.32 * len(found)))
    for place, (row, facts) in enumerate(found.items()):
        colour = "grey" if row == "teacher" else f"C{students.index(row.partition('-')[2])}"
        cell = facts["cells"]["knn"]
        axis.barh(place, cell["mean"], xerr=cell["spread"], color=colour, height=0.7)
        axis.annotate(f" {cell['mean']:.1f}", (cell["mean"] + (cell["spread"] or 0), place), va="center", fontsize=8)
        if facts["knn_before_training"]:
            axis.plot([statistics.mean(facts["knn_before_training"])] * 2, [place - 0.35, place + 0.35], color="black")
    axis.set_yticks(range(len(found)), [row.replace("-", ", ", 1) for row in found], fontsize=8)
    axis.invert_yaxis()
    axis.margins(x=0.1)
    axis.set_xlabel("k-NN top-1, % (k = 20, 100 classes); black: before training, by fewer images", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _figure(document: dict[str, Any]) -> float:
    """The main figure; of low-shot, whose tasks are listed from few images to many, the last."""
    figures = document["figures"]
    return float(figures[-1 if document["protocol"] == "lowshot" else 0]["mean"])


def _markdown(form: str, table: dict[str, Any]) -> list[str]:
    lines = [f"# Teacher and students on tiny-imagenet-100, form {form}", ""]
    lines += [f"| row | {' | '.join(COLUMNS)} | minutes |", "|" + "---|" * (len(COLUMNS) + 2)]
    run = {row: found for row, found in table.items() if found["seconds"]}
    for row, found in run.items():
        cells = [_cell(found["cells"].get(name)) for name in PROTOCOLS]
        minutes = f"{statistics.mean(found['seconds']) / 60:.1f}"
        lines.append(f"| {row} | {' | '.join(cells)} | {minutes} |")
    absent = [row for row in table if row not in run]
    lines += ["", *([f"- Not run: {', '.join(absent)}."] if absent else [])]
    return [*lines, *(f"- Cannot be run: {row}, {reason}." for row, reason in MISSING.items()), ""]


def _cost_lines(cost: dict[str, Any]) -> list[str]:
    if not cost["rows"]:
        return []
    first = next(iter(cost["rows"].values()))["plain"]
    lines = [f"## Cost of a step ({first['device']}, {first['precision']}, {first['batch_size']} images)", ""]
    lines += ["| row | images/s (least to most) | waiting for data | teacher | peak MB | cached | cached / not |"]
    lines += ["|" + "---|" * 7]
    for row in row_names(FORMS[cost["form"]]):
        if row not in cost["rows"]:
            continue
        plain, cached = cost["rows"][row]["plain"], cost["rows"][row].get("cached")
        shares = [f"{100 * plain['shares'][part]:.0f} %" for part in ("data wait", "teacher")]
        peak = f"{plain['peak_memory_mb']:.0f}" if plain["peak_memory_mb"] else "not known"
        cells = [_speed(plain), *shares, peak]
        if cached:
            cells += [_speed(cached), f"{cached['images_per_s'] / plain['images_per_s']:.2f}"]
        else:
            cells += ["its teacher moves", ""]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return [*lines, ""]


def _speed(report: dict[str, Any]) -> str:
    turns = report["turns_images_per_s"]
    return f"{report['images_per_s']:.1f} ({turns[0]:.1f} to {turns[-1]:.1f})"


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return "not measured"
    spread = f" ± {found['spread']:.1f}" if found["spread"] is not None else ""
    return f"{found['mean']:.1f}{spread}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["evaluate", "write"])
    parser.add_argument("--data", help="tiny-imagenet-100; the embedded sample set if absent")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--form", choices=FORMS, default="gpu")
    parser.add_argument("--seconds", type=float, default=520)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "results" / "tiny_imagenet")
    words = parser.parse_args()
    return evaluate(words) if words.what == "evaluate" else write(words)


if __name__ == "__main__":
    sys.exit(main())
