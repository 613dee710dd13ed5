"""Evaluate finished rows and write the table.

    python benchmarks/tiny_imagenet/table.py evaluate --data DIR --work DIR [--form gpu] [--seconds 520]
    python benchmarks/tiny_imagenet/table.py write --work DIR [--form gpu] [--out benchmarks/results/tiny_imagenet]

`evaluate` runs `lowzoo eval` on every finished run (k-NN at k = 20, a linear probe, 1 % and 10 % of the labels) and
keeps each document beside it; what is there is not done again, so the command may be ended and repeated. `write` makes
table.json and table.md from what is there; a cell without a figure says so.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rows import FORMS, MISSING, row_names

LOWZOO = str(Path(sys.executable).with_name("lowzoo"))
PROTOCOLS: dict[str, list[str]] = {
    "knn": ["knn", "--k", "20"],
    "linear": ["linear"],
    "share1": ["lowshot", "--shots", "1", "--share", "0.01"],
    "share10": ["lowshot", "--shots", "1", "--share", "0.1"],
}


def finished(work: Path, row: str) -> list[Path]:
    """Run folders of a row, one a seed."""
    return sorted(path.parent for path in work.glob(f"{row}.*/run.json"))


def evaluate(words: argparse.Namespace) -> int:
    """Evaluate what has not been evaluated; status 3 when time is up before."""
    deadline = time.monotonic() + words.seconds
    for row in row_names(FORMS[words.form]):
        for folder in finished(words.work, row):
            for name, protocol in PROTOCOLS.items():
                out = folder / f"eval.{name}.json"
                if out.exists():
                    continue
                if time.monotonic() > deadline:
                    return 3
                command = [LOWZOO, "eval", protocol[0], str(folder), *protocol[1:]]
                command += ["--out", str(out), *(["--data", words.data] if words.data else [])]
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
        seconds = [json.loads((words.work / f"{folder.name}.seconds.json").read_text()) for folder in folders]
        table[row] = {"cells": cells, "runs": facts, "seconds": [sum(parts) for parts in seconds]}
    words.out.mkdir(parents=True, exist_ok=True)
    document = {"form": words.form, "rows": table, "missing": MISSING}
    (words.out / "table.json").write_text(json.dumps(document, indent=2) + "\n")
    (words.out / "table.md").write_text(_markdown(words.form, table))
    return 0


def _figure(document: dict[str, Any]) -> float:
    """The main figure; of low-shot, whose tasks are listed from few images to many, the last."""
    figures = document["figures"]
    return float(figures[-1 if document["protocol"] == "lowshot" else 0]["mean"])


def _markdown(form: str, table: dict[str, Any]) -> str:
    lines = [f"# Teacher and students on tiny-imagenet-100, form {form}", ""]
    lines += ["| row | k-NN, k = 20 | linear | 1 % labels | 10 % labels | minutes |", "|---|---|---|---|---|---|"]
    for row, found in table.items():
        cells = [_cell(found["cells"].get(name)) for name in PROTOCOLS]
        minutes = f"{statistics.mean(found['seconds']) / 60:.1f}" if found["seconds"] else "not run"
        lines.append(f"| {row} | {' | '.join(cells)} | {minutes} |")
    return "\n".join([*lines, "", *(f"- {row}: missing, as {reason}." for row, reason in MISSING.items()), ""])


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
