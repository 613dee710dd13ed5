"""Do the monitors that need no labels move as labelled k-NN does? Rank correlation over the runs of default_settings.

    python benchmarks/label_free_monitors.py --work DIR ...

`DIR` is where `default_settings.py` or `headless_teachers.py` has its runs, each of which was watched by k-NN with
labels and, on the same held-out images, by the monitors of `lowzoo.train.monitoring.label_free`, which see no label.
Two questions, each by Spearman's correlation:

- within a run: do monitor and k-NN rank its marks alike, from the untrained network to the end? (mean over runs)
- over runs of the same images: does the monitor's change rank the runs as k-NN's change does? Of all runs, ablations
  among them, and of those of each recipe.

The table is results/label_free_monitors.json and .md.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import documents
import numpy as np
from scipy.stats import spearmanr

from lowzoo.train.monitoring.metrics import read_metrics

OUT = Path(__file__).parent / "results" / "label_free_monitors.json"
MONITORS = ("teacher_neighbours", "own_view", "rankme")
_FEWEST = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, nargs="+", required=True, help="folders of runs")
    words = parser.parse_args()
    found = {file.parent: _marks(file) for work in words.work for file in sorted(work.glob("*/metrics.jsonl"))}
    found = {folder: marks for folder, marks in found.items() if len(marks) >= _FEWEST}
    runs = {folder.name: marks for folder, marks in found.items()}
    document = {
        "within": {name: _within(marks) for name, marks in runs.items()},
        "over": _over(found),
        "runs": {name: {"before": marks[0], "after": marks[-1]} for name, marks in runs.items()},
        "versions": documents.versions(),
    }
    documents.write(OUT, document, _table)
    print(OUT.with_suffix(".md").read_text())


def _marks(file: Path) -> list[dict[str, float]]:
    """What was measured of a run with labels and without, in order."""
    wanted = ("step", "knn", *MONITORS)
    return [{key: row[key] for key in wanted if key in row} for row in read_metrics(file) if "knn" in row]


def _correlation(pairs: list[tuple[float, float]]) -> dict[str, float] | None:
    """Spearman's with its p and the number of pairs; none where these are too few, or one side stands still."""
    if len(pairs) < _FEWEST:
        return None
    found = spearmanr(*zip(*pairs, strict=True))
    if np.isnan(found.statistic):
        return None
    return {"value": round(float(found.statistic), 3), "p": round(float(found.pvalue), 4), "pairs": len(pairs)}


def _within(marks: list[dict[str, float]]) -> dict[str, dict[str, float] | None]:
    return {name: _correlation([(mark["knn"], mark[name]) for mark in marks if name in mark]) for name in MONITORS}


def _over(runs: dict[Path, list[dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """By the images that runs learn from, and by recipe."""
    groups: dict[str, list[list[dict[str, float]]]] = defaultdict(list)
    for folder, marks in runs.items():
        images = json.loads((folder / "data.json").read_text())["train"]["name"]
        recipe = json.loads((folder / "run.json").read_text())["recipe"]
        groups[images].append(marks)
        groups[f"{images}, {recipe} alone"].append(marks)
    return {
        images: {
            name: _correlation(
                [
                    (marks[-1]["knn"] - marks[0]["knn"], marks[-1][name] - marks[0][name])
                    for marks in groups[images]
                    if name in marks[0]
                ]
            )
            for name in MONITORS
        }
        for images in sorted(groups)
    }


def _shown(cell: dict[str, float] | None) -> str:
    if cell is None:
        return "-"
    p = "p < 0.001" if cell["p"] < 0.001 else f"p {cell['p']:.2g}"
    return f"{cell['value']:.2f} ({cell['pairs']}, {p})"


def _table(document: dict[str, Any]) -> str:
    heads = ("neighbours as the teacher's", "own view found", "RankMe")
    lines = [
        "# Monitors without labels beside k-NN with them",
        "",
        "Spearman's rank correlation with labelled k-NN (`benchmarks/label_free_monitors.py`).",
        "",
        f"| | {' | '.join(heads)} |",
        "| --- | ---: | ---: | ---: |",
    ]
    columns = []
    for name in MONITORS:
        known = [run[name]["value"] for run in document["within"].values() if run[name] is not None]
        columns.append(f"{np.mean(known):.2f} ({len(known)})" if known else "-")
    lines.append(f"| within a run, mean (of so many runs) | {' | '.join(columns)} |")
    for images, row in document["over"].items():
        cells = (row[name] for name in MONITORS)
        shown = map(_shown, cells)
        lines.append(f"| change over runs (number, p) of {images} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
