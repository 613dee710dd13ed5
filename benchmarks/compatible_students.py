"""What an index loses when a student takes the place of the model that made it: k-NN across the two.

    python benchmarks/compatible_students.py [--seeds 0 1 2] [--steps 100] [--only linear]

Runs of `lowzoo train rob` on the embedded sample set (1,254 drawings as bank, 313 as queries), student
mobilenetv3_large, teacher and MODEL of `--compatible-with` the bundled mobilenetv2_supervised; some without the option,
some with an MLP as map. Each row: k-NN (k = 20) of the student by itself, of the model by itself, and of queries by the
student in a bank by the model. Steps and not minutes, so that other work on the machine changes no row. A row is
written as soon as it is there; one that stands in the results is not made again. Results:
results/compatible_students.json and .md.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import lowzoo
from lowzoo.system.machine import versions

RESULTS = Path(__file__).parent / "results" / "compatible_students"
MODEL, STUDENT, BATCH, K = "mobilenetv2_supervised", "mobilenetv3_large", 64, 20
# Settings by the name of a row; the first needs no map.
KINDS: dict[str, dict[str, Any] | None] = {
    "without": None,
    "linear": {"compatible_map": "linear"},
    "linear, weight 4": {"compatible_map": "linear", "compatible_weight": 4.0},
    "mlp": {"compatible_map": "mlp"},
}
FIGURES = {"own": f"knn_top1_k{K}", "model": f"bank_knn_top1_k{K}", "cross": f"cross_knn_top1_k{K}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--only", choices=list(KINDS), nargs="+", default=list(KINDS))
    words = parser.parse_args()
    file = RESULTS.with_suffix(".json")
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"] if file.exists() else []
    for seed in words.seeds:
        for kind in words.only:
            if any((row["kind"], row["seed"], row["steps"]) == (kind, seed, words.steps) for row in rows):
                continue
            rows.append(row := measure(kind, seed, words.steps))
            found = {"rows": rows, "versions": versions(), "cores": os.cpu_count()}
            file.write_text(json.dumps(found, indent=1) + "\n")
            RESULTS.with_suffix(".md").write_text(table(rows))
            print(row, flush=True)


def measure(kind: str, seed: int, steps: int) -> dict[str, Any]:
    """One run and its figures."""
    settings = KINDS[kind]
    began = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        run = lowzoo.train.rob(
            student=STUDENT,
            teacher=MODEL,
            compatible_with=None if settings is None else MODEL,
            steps=steps,
            batch_size=BATCH,
            seed=seed,
            device="cpu",
            log=["none"],
            out=Path(scratch) / "run",
            settings={"monitor_epochs": 0, "workers": 0, **(settings or {})},
        )
        spent = time.process_time() - began
        bank = None if settings is None else MODEL
        found = lowzoo.evaluate.knn(run.folder, bank=bank, k=K, device="cpu").result.figures
    figures = {figure.metric: round(figure.mean, 2) for figure in found}
    distances = run.facts["result"].get("compatible")
    return {
        "kind": kind,
        "seed": seed,
        "steps": steps,
        "images": steps * BATCH,
        **{name: figures.get(metric) for name, metric in FIGURES.items()},
        "distance": None if distances is None else round(distances[-1], 4),
        "cpu_seconds": round(spent),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The means over seeds for people."""
    lines = [
        "# Students that keep the index",
        "",
        f"k-NN top-1 (k = {K}) in per cent on the embedded drawings, `{STUDENT}` taught by `{MODEL}`; mean and",
        "standard deviation over seeds (`benchmarks/compatible_students.py`). Across: bank by the model, queries by",
        "the student.",
        "",
        "| map | steps | seeds | student alone | model alone | across | cosine distance | CPU seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind, steps in dict.fromkeys((row["kind"], row["steps"]) for row in rows):
        these = [row for row in rows if (row["kind"], row["steps"]) == (kind, steps)]
        cells = [over_seeds(these, name) for name in ("own", "model", "cross", "distance", "cpu_seconds")]
        lines.append(f"| {kind} | {steps} | {len(these)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def over_seeds(rows: list[dict[str, Any]], name: str) -> str:
    """Mean and spread of one figure; a dash where there is none."""
    values = [row[name] for row in rows if row[name] is not None]
    if not values:
        return "-"
    digits = {"distance": 3, "cpu_seconds": 0}.get(name, 1)
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{spread}"


if __name__ == "__main__":
    main()
