"""Measure what a step of each row costs: images/s, where the time goes, and what the teacher cache saves.

    python benchmarks/tiny_imagenet/cost.py --data DIR --work DIR [--form gpu] [--rows rob-vit_tiny]

`lowzoo train ... --bench` of every row, and of rows with a frozen teacher by turns with the same from a cache, which is
filled first. Of three turns the one of median speed counts, and the speeds of all are kept: thirty steps differ by a
tenth and more. The teacher has to be trained. Writes cost.json into DIR of `--work`, for `table.py write`; rows that it
holds already are measured only if named. Rows "supervised" have no such report.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from rows import FORMS, LOWZOO, chosen_rows, command_of

CACHE = "--teacher-cache"
# Enough steps to time some, also where an epoch has two.
EPOCHS = "20"
TURNS = 3


def measure(row: str, words: argparse.Namespace) -> dict[str, Any]:
    """Reports of `--bench`: "plain", and "cached" where the row has a frozen teacher."""
    command = command_of(row, FORMS[words.form], str(words.work), 0)
    ways = {"plain": command}
    with tempfile.TemporaryDirectory() as cache:
        if CACHE in command:
            place = command.index(CACHE)
            ways["plain"] = command[:place] + command[place + 2 :]
            ways["cached"] = [*ways["plain"], CACHE, cache]
            bench(ways["cached"], words)
        turns = [{how: bench(way, words) for how, way in ways.items()} for _ in range(TURNS)]
    return {how: median([turn[how] for turn in turns]) for how in ways}


def median(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """The report of median speed, with the speeds of all."""
    reports = sorted(reports, key=lambda report: float(report["images_per_s"]))
    return {**reports[len(reports) // 2], "turns_images_per_s": [report["images_per_s"] for report in reports]}


def bench(command: list[str], words: argparse.Namespace) -> dict[str, Any]:
    """One report; nothing of the run remains."""
    with tempfile.TemporaryDirectory() as out:
        command = [*command, "--bench", "--device", words.device, *(["--data", words.data] if words.data else [])]
        for option, value in (("--out", out), ("--epochs", EPOCHS)):
            command[command.index(option) + 1] = value
        done = subprocess.run([LOWZOO, *command], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"lowzoo {' '.join(command)} failed:\n{done.stderr[-2000:]}")
        report: dict[str, Any] = json.loads((Path(out) / "bench.json").read_text())
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="tiny-imagenet-100; the embedded sample set if absent")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--form", choices=FORMS, default="gpu")
    parser.add_argument("--rows", nargs="+", help="all of the form if absent")
    parser.add_argument("--device", default="auto")
    words = parser.parse_args()
    file = words.work / "cost.json"
    found = json.loads(file.read_text()) if file.exists() else {"form": words.form, "rows": {}}
    if found["form"] != words.form:
        parser.error(f"{file} was measured for form {found['form']}")
    for row in chosen_rows(parser, words):
        if row.startswith("supervised") or (row in found["rows"] and not words.rows):
            continue
        found["rows"][row] = measure(row, words)
        file.write_text(json.dumps(found, indent=2) + "\n")
        speeds = ", ".join(f"{how} {report['images_per_s']:.1f}" for how, report in found["rows"][row].items())
        print(f"{row}: {speeds} images/s", flush=True)


if __name__ == "__main__":
    main()
