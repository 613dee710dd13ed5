"""Kill small runs of the three recipes at random moments, resume them, and compare every bit with an unbroken run.

    python benchmarks/kills.py --kills 100 --seed 0

Each trial starts a run, ends it by SIGKILL or SIGTERM at a random moment (every third one again after its resumption),
lets it go on to the end and compares weights, head and the rows of metrics.jsonl, timings aside, with those of the
run of the same recipe that nobody disturbed. SIGTERM has to end a run with status 143 and leave no process behind. A
run takes seconds: a student of 0.2 M parameters on 48 embedded pictures, in processes forked from one that has imported
everything. Prints a table, writes benchmarks/results/kills.json, and exits with 1 on any difference.
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lowzoo.data.source import ImageSource, open_source
from lowzoo.io.files import write_text
from lowzoo.system.machine import versions
from lowzoo.system.signals import Stopped, sigterm_as_exception
from lowzoo.train.monitoring.metrics import read_metrics
from lowzoo.train.monitoring.progress import Progress
from lowzoo.train.runs.checkpoint import load_checkpoint
from lowzoo.train.runs.loop import Run
from lowzoo.train.settings.config import resolve

RESULT = Path(__file__).resolve().parent / "results" / "kills.json"
PICTURES, HELD_OUT = 48, 16
FILES = ("model.safetensors", "head.safetensors")
TIMINGS = ("images_per_s", "data_wait")
COMMON = [
    "student=test_vit",
    "batch_size=8",
    "workers=1",
    "epochs=4",
    "checkpoint_steps=2",
    "drop_path=0.1",
    "student_head.hidden=64",
    "device=cpu",
    "precision=fp32",
    "log=none",
]
RECIPES = {
    "rob": (("sample",), ["student_head.bottleneck=64", "teacher_prototypes=false"]),
    "seed": (("sample_seed",), ["queue=64"]),
    "sslight": (("sslight_dino_vit", "sslight_views_sslight", "sample_sslight"), ["prototypes=64"]),
}


@dataclass(frozen=True)
class Trial:
    """One run that was ended, perhaps twice, and resumed.

    Args:
        number: Number of the trial; with the seed it gives all random choices.
        recipe: Recipe of the run.
        signals: That ended it, in order; "none" where the run was over before.
        delays: Seconds after the start, or the resumption, of each.
        steps: Step of the checkpoint found after each.
        same: Whether nothing differs from the unbroken run.
        fault: What did, or what went wrong.
    """

    number: int
    recipe: str
    signals: list[str]
    delays: list[float]
    steps: list[int]
    same: bool
    fault: str


def pictures(split: str, count: int) -> ImageSource:
    """Evenly spread pictures of the embedded set."""
    source = open_source(None, split)
    return source.subset(np.linspace(0, len(source) - 1, count).astype(np.int64))


def train(recipe: str, out: Path, resume: bool) -> None:
    """A run, in a process of its own; exits as `lowzoo train` does."""
    # This process would start its data workers as it was started itself; a command's are forked.
    multiprocessing.set_start_method("fork" if sys.platform == "linux" else None, force=True)
    torch.set_num_threads(1)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    layers, settings = RECIPES[recipe]
    config = resolve(layers, settings=[*COMMON, *settings])
    try:
        with sigterm_as_exception():
            source, held_out = pictures("train", PICTURES), pictures("validation", HELD_OUT)
            Run(config, source, held_out, out, resume=resume).train(Progress())
    except Stopped as stopped:
        sys.exit(stopped.status)


class Trials:
    """Runs to be ended, and the unbroken ones beside them.

    Args:
        scratch: Folder for run folders.
        seed: Random seed.
    """

    def __init__(self, scratch: Path, seed: int) -> None:
        self.scratch, self.seed = scratch, seed
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(
            ["benchmarks.kills", "lowzoo.train.runs.loop", "lowzoo.train.monitoring.curves"]
        )
        self.seconds: dict[str, float] = {}
        # The first process waits for the imports of the server; of its time nothing is to be learned.
        self._start(next(iter(RECIPES)), scratch / "warm").join()
        for recipe in RECIPES:
            began = time.monotonic()
            process = self._start(recipe, scratch / recipe)
            process.join()
            self.seconds[recipe] = time.monotonic() - began
            if process.exitcode:
                raise SystemExit(f"the unbroken run of {recipe} ended with {process.exitcode}")

    def run(self, number: int) -> Trial:
        """Make trial `number`."""
        rng = random.Random(f"{self.seed}/{number}")
        recipe = sorted(RECIPES)[number % len(RECIPES)]
        out = self.scratch / f"{number:03}"
        signals, delays, steps, faults = [], [], [], []
        for _ in range(2 if number % 3 == 2 else 1):
            wanted = rng.choice((signal.SIGKILL, signal.SIGTERM))
            delay = rng.uniform(0.05, 0.85) * self.seconds[recipe]
            process = self._start(recipe, out)
            process.join(delay)
            name = "none" if process.exitcode is not None else signal.Signals(wanted).name
            faults += self._end(process, wanted)
            signals.append(name)
            delays.append(round(delay, 3))
            steps.append(int((load_checkpoint(out) or {}).get("step", 0)))
        process = self._start(recipe, out)
        process.join()
        if process.exitcode:
            faults.append(f"the resumed run ended with {process.exitcode}")
        else:
            faults += differences(self.scratch / recipe, out)
        return Trial(number, recipe, signals, delays, steps, not faults, "; ".join(faults))

    def _start(self, recipe: str, out: Path) -> BaseProcess:
        process = self._context.Process(target=train, args=(recipe, out, (out / "config.toml").exists()))
        process.start()
        return process

    def _end(self, process: BaseProcess, wanted: int) -> Iterator[str]:
        """End a run that is not over yet; says what SIGTERM did not do as it should."""
        if process.exitcode is not None:
            if process.exitcode:
                yield f"the run ended by itself with {process.exitcode}"
            return
        workers = children(process.pid or 0)
        os.kill(process.pid or 0, wanted)
        process.join()
        # A signal in the last moments finds the run finished.
        if wanted == signal.SIGTERM and process.exitcode not in (128 + wanted, 0):
            yield f"SIGTERM ended the run with {process.exitcode}"
        if wanted == signal.SIGTERM and any(alive(pid) for pid in workers):
            yield "SIGTERM left data workers behind"


def children(pid: int) -> list[int]:
    """The processes that `pid` has started, where the system tells (Linux)."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def alive(pid: int) -> bool:
    """Whether a process goes on, one that waits to be buried aside."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def differences(whole: Path, out: Path) -> list[str]:
    """What of a resumed run is not as in the unbroken one."""
    found = [file for file in FILES if (whole / file).read_bytes() != (out / file).read_bytes()]
    if rows(whole) != rows(out):
        found.append("metrics.jsonl")
    return [f"{file} differs" for file in found]


def rows(folder: Path) -> list[dict[str, Any]]:
    """The metrics of a run, timings aside."""
    return [
        {key: value for key, value in row.items() if key not in TIMINGS and not key.endswith("_share")}
        for row in read_metrics(folder / "metrics.jsonl")
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="trials, each with one kill or two")
    parser.add_argument("--seed", type=int, default=0, help="of all random choices")
    parser.add_argument("--out", type=Path, default=RESULT, help="where the result is written")
    given = parser.parse_args()
    began = time.monotonic()
    trials = []
    with tempfile.TemporaryDirectory() as scratch:
        world = Trials(Path(scratch), given.seed)
        print(f"{'trial':>5}  {'recipe':8} {'ended by':18} {'after s':14} {'at step':10} same bits", flush=True)
        for number in range(given.kills):
            trial = world.run(number)
            trials.append(trial)
            delays, steps = (" ".join(map(str, values)) for values in (trial.delays, trial.steps))
            answer = "yes" if trial.same else f"NO: {trial.fault}"
            line = f"{number:5}  {trial.recipe:8} {' '.join(trial.signals):18} {delays:14} {steps:10} {answer}"
            print(line, flush=True)
    same = sum(trial.same for trial in trials)
    ended = [name for trial in trials for name in trial.signals]
    summary = {name: ended.count(name) for name in ("SIGKILL", "SIGTERM", "none")}
    print(f"{same} of {len(trials)} resumed to the same bits; {summary}; {time.monotonic() - began:.0f} s")
    result = {
        "seed": given.seed,
        "trials": len(trials),
        "same": same,
        "ended_by": summary,
        "machine": {"processor": platform.machine(), "system": platform.platform(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), **versions()},
        "seconds_of_a_run": {recipe: round(seconds, 1) for recipe, seconds in world.seconds.items()},
        "rows": [asdict(trial) for trial in trials],
    }
    write_text(given.out, json.dumps(result, indent=1) + "\n")
    sys.exit(0 if same == len(trials) else 1)


if __name__ == "__main__":
    main()
