"""Train rows of the table, in pieces of a few minutes, each of which goes on where the last one was ended.

    python benchmarks/tiny_imagenet/run.py --data DIR --work DIR [--form gpu] [--rows teacher rob-vit_tiny] [--seeds 0]
        [--student-data FILE] [--seconds 520]
    python benchmarks/tiny_imagenet/run.py --form try --work DIR

DIR of `--data` holds tiny-imagenet-100 as parquet; `--student-data` gives all rows but the teacher fewer images, one of
its files for example. A piece takes the first row that is not finished and goes on with
the next while time is left; it is ended as a kill would end it, which costs the steps since the last checkpoint and no
bit. Exit status 0 when every row is finished, 3 when the command is to be repeated. `--form try` is two steps of every
row on the embedded sample set.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from rows import FORMS, LOWZOO, chosen_rows, command_of

SUPERVISED = str(Path(__file__).with_name("supervised.py"))
AGAIN = 3


def train(row: str, words: argparse.Namespace, seed: int, deadline: float) -> bool:
    """Train a row until it is finished or time is up; returns whether it is finished."""
    folder = words.work / f"{row}.{seed}"
    if (folder / "run.json").exists():
        return True
    command = [LOWZOO, *command_of(row, FORMS[words.form], str(words.work), seed)]
    if row.startswith("supervised"):
        command[:3] = [sys.executable, SUPERVISED]
    data = words.data if row == "teacher" else words.student_data or words.data
    command += ["--data", data] if data else []
    command += ["--device", words.device]
    if (folder / "config.toml").exists():
        command.append("--resume")
    started = time.monotonic()
    with (words.work / f"{row}.{seed}.log").open("a") as log:
        try:
            done = subprocess.run(command, stdout=log, stderr=log, timeout=max(1, deadline - started))
        except subprocess.TimeoutExpired:
            return False
        finally:
            spent = words.work / f"{row}.{seed}.seconds.json"
            before = json.loads(spent.read_text()) if spent.exists() else []
            spent.write_text(json.dumps([*before, round(time.monotonic() - started, 1)]))
    if done.returncode:
        raise SystemExit(f"{row} ended with status {done.returncode}; see {log.name}")
    return True


def main() -> int:
    """Train what is not finished yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="tiny-imagenet-100; the embedded sample set if absent")
    parser.add_argument("--student-data", help="what students are trained on, if not on --data")
    parser.add_argument("--work", type=Path, required=True, help="where runs and caches are kept")
    parser.add_argument("--form", choices=FORMS, default="gpu")
    parser.add_argument("--rows", nargs="+", help="all of the form if absent")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--seconds", type=float, default=520, help="length of a piece (default 520)")
    parser.add_argument("--device", default="auto")
    words = parser.parse_args()
    words.work.mkdir(parents=True, exist_ok=True)
    rows = chosen_rows(parser, words)
    deadline = time.monotonic() + words.seconds
    for seed in words.seeds:
        for row in rows:
            if row == "teacher" and seed:
                continue  # all students have the same one
            finished = train(row, words, seed, deadline)
            print(f"{row}, seed {seed}: {'finished' if finished else 'to be continued'}", flush=True)
            if not finished:
                return AGAIN
    return 0


if __name__ == "__main__":
    sys.exit(main())
