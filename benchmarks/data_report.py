"""How long `lowzoo data` takes on a set of pictures, and its peak of memory.

    python benchmarks/data_report.py SRC [--repeats N] [--no-features] [--out benchmarks/results/data_report.json]

Each turn is a fresh process that writes the page, the sheet and the JSON document. Wall seconds are those of the
machine as it is, with its load beside them; processor seconds divided by the cores say what a quiet one would need at
least. The caches of an opened source are warm after the first turn, which is kept apart.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lowzoo.bench.host.machine import this_device
from lowzoo.evaluate.result import versions
from lowzoo.io.files import write_text


def turn(source: str, extra: list[str]) -> dict[str, float | int]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        words = [source, "--json", "--out", f"{folder}/report.html", "--sheet", f"{folder}/sheet.png", *extra]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", "from lowzoo.cli.main import main; main()", "data", *words],
            stdout=subprocess.PIPE,
            check=True,
        )
        seconds = time.monotonic() - began
        page = (Path(folder) / "report.html").stat().st_size
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report = json.loads(done.stdout)
    return {
        "pictures": report["pictures"],
        "seconds": round(seconds, 1),
        "processor_seconds": round(spent, 1),
        "peak_mb_so_far": round(after.ru_maxrss * 1024 / 1e6),
        "page_mb": round(page / 1e6, 2),
        "groups": len(report["groups"]),
        "load_average": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-features", action="store_true")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    turns = []
    for _ in range(1 + arguments.repeats):
        turns.append(turn(arguments.source, ["--no-features"] if arguments.no_features else []))
        print(json.dumps(turns[-1]), flush=True)
    warm = [float(row["seconds"]) for row in turns[1:]]
    document = {
        "script": "benchmarks/data_report.py",
        "machine": this_device().model_dump(),
        "versions": versions("pillow", "opencv-python-headless"),
        "data": Path(arguments.source).name,
        "features": not arguments.no_features,
        "first": turns[0],
        "turns": turns[1:],
        "seconds": {"median": statistics.median(warm), "min": min(warm), "max": max(warm)} if warm else None,
    }
    if arguments.out:
        write_text(arguments.out, json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
