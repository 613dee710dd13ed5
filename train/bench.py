"""`lowzoo train ... --bench`: time some steps of a real run, and say by name what bounds them.

The time of a run's steps: where it goes, what arithmetic it holds, and what bounds it.
"""

import gc
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from lowzoo.base.errors import LowzooError
from lowzoo.base.progress import plain_line
from lowzoo.io.files import write_text
from lowzoo.system.device import pick_device
from lowzoo.system.flops import arithmetic
from lowzoo.system.machine import device_name, versions
from lowzoo.system.memory import peak_memory_mb
from lowzoo.system.processes import started_first
from lowzoo.train.command import TrainArgs, check_installed, open_run, resolve_args
from lowzoo.train.distributed import collectives
from lowzoo.train.distributed import processes as distributed
from lowzoo.train.monitoring.progress import StepClock, track
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs.device_decoding import LEFT_TO_THE_CPU
from lowzoo.train.runs.device_views import check_settings
from lowzoo.train.runs.loop import Run
from lowzoo.train.settings.config import resolve

_WARM_UP, _MEASURED = 5, 30
_DATA_BATCHES = 20
# A step that waits longer than this for its images is bound by them.
_WAITING = 0.15


def run_bench(args: TrainArgs, say: Callable[[str], None], compare: Sequence[str] = ()) -> dict[str, Any]:
    """Time a run of these words without training to the end; nothing remains of it but `bench.json`.

    Args:
        args: Arguments of the command; the report goes to its run folder, or beside `runs`.
        say: Receives each line of text.
        compare: Settings, several of them apart by spaces, with which the same run is timed too.

    Returns:
        The report: images/s, shares of a step, memory, arithmetic, bottleneck; and `compared`, where there is something
        to compare, the same of each. Empty in a process that is not the first of several.

    Raises:
        LowzooError: Settings that do not exist or do not fit, a run to go on with, or processes to start; before
            anything is timed.
    """
    check_installed()
    if args.resume:
        raise LowzooError("--bench times a run from its start", "Leave out --resume and --from")
    if args.devices > 1 and distributed.started_together() == 1:
        raise LowzooError(
            f"--bench does not start {args.devices} processes itself",
            f"Use `torchrun --nproc-per-node {args.devices} --no-python lowzoo train ... --bench`, without --devices",
        )
    say = say if started_first() else _silent
    config = _quiet(resolve_args(args, say=say))
    others = {words: _with(config, words) for words in compare}
    check_settings(config, distributed.own_device(pick_device(config.device)), args.teacher_cache)
    for words, other in others.items():
        check_settings(other, distributed.own_device(pick_device(other.device)), args.teacher_cache)
        if other == config:
            raise LowzooError(f"--compare {words!r} is what the run has already", "Name another value")
    if others and args.teacher_cache:
        say("A first pass fills the teacher cache, which all then read")
        _timed(args, config, say)
    report = _timed(args, config, say)
    for line in describe(report):
        say(line)
    rows = []
    for words, other in others.items():
        say(f"With {words}:")
        row = _timed(args, other, say)
        if row["device"].startswith("cpu"):
            row["peak_memory_mb"] = None  # the process's, which does not fall again
        for line in describe(row):
            say(line)
        rows.append({"settings": words, "times_as_fast": _ratio(row, report), **row})
    if rows:
        report["compared"] = rows
        say("One after the other, so what else the machine did is in the differences:")
        width = max(len("as it is"), *(len(row["settings"]) for row in rows))
        say(f"{'as it is':{width}} {report['images_per_s']:10.1f} images/s")
        for row in rows:
            say(f"{row['settings']:{width}} {row['images_per_s']:10.1f} images/s, {row['times_as_fast']} times as fast")
    file = (args.out or Path("runs")) / "bench.json"
    if started_first():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(report, indent=2) + "\n")
    say(f"Stored in {file}")
    return report if started_first() else {}


def _silent(_: str) -> None:
    """Of several processes the first one says it."""


def _quiet(config: TrainConfig) -> TrainConfig:
    """The configuration without what a run does between its steps."""
    return config.model_copy(update={"monitor_epochs": 0, "log": (), "checkpoint_steps": 0})


def _with(config: TrainConfig, words: str) -> TrainConfig:
    """The configuration with other settings."""
    fields = config.model_dump(mode="json", exclude_none=True)
    return _quiet(resolve(fields, settings=words.split()))


def _timed(args: TrainArgs, config: TrainConfig, say: Callable[[str], None]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        report = measure(open_run(args, config, Path(scratch) / "run", say))
    # What one run leaves must not bear on the next.
    gc.collect()
    torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return report


def _ratio(row: dict[str, Any], base: dict[str, Any]) -> float:
    return round(float(row["images_per_s"]) / float(base["images_per_s"]), 3)


def measure(run: Run, warm_up: int = _WARM_UP, steps: int = _MEASURED) -> dict[str, Any]:
    """Time `steps` steps of a run after `warm_up` others; it cannot be trained afterwards.

    Raises:
        LowzooError: A run of fewer than three steps.
    """
    total = min(warm_up + steps, len(run.updates) - 2)
    if total < 1:
        raise LowzooError(
            f"a run of {len(run.updates)} steps is too short to be timed", "Add epochs, or make the batch smaller"
        )
    warm_up = min(warm_up, total // 2)
    say = plain_line if run.main else _silent
    say("timing: the first step, which is not counted")
    timer = StepTimer(run)
    for number in track(range(total), "timing steps"):
        if number == warm_up:
            timer.forget()
        timer.step()
    say("timing: the loader alone, and the device's matmuls")
    return timer.report()


def describe(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    shares = "   ".join(f"{name} {100 * share:.0f} %" for name, share in report["shares"].items())
    memory = f"{report['peak_memory_mb']:.0f} MB" if report["peak_memory_mb"] else "not known"
    by_cpu = report.get("decoded_by_cpu", 0)
    decoded = f"The CPU decoded {100 * by_cpu:.0f} % of the images: {LEFT_TO_THE_CPU}"
    bound = report["bottleneck"]
    # Beside the views themselves this part holds the decoding then.
    advice = _ADVICE_DECODING if bound == "views" and "decoded_by_cpu" in report else _ADVICE[bound]
    return [
        f"{report['images_per_s']:.0f} images/s ({report['images_per_s_per_device']:.0f} a device, "
        f"{report['devices']} device(s): {report['device']}, {report['precision']})",
        f"Of a step: {shares}",
        f"The loader alone gives {report['loader_images_per_s']:.0f} images/s",
        f"{report['gflop_per_image']:.2f} GFLOP an image: {100 * report['flop_utilisation']:.0f} % of the measured "
        f"matmul peak of {report['matmul_peak_gflops']:.0f} GFLOP/s; peak memory {memory}",
        f"Bottleneck: {bound} ({advice})",
        *([decoded] if by_cpu else []),
    ]


_ADVICE = {
    "data": "more --set workers=N, or smaller images on disk",
    "teacher": "--teacher-cache DIR keeps what it said",
    "student": "a larger device; --compare times precision=bf16, compile=true, and onednn=true on an AMD CPU",
    "views": "fewer or smaller views",
}
_ADVICE_DECODING = "smaller images on disk, decode=cpu with more --set workers=N, or fewer or smaller views"


class StepTimer:
    """Takes a run's steps one by one and says where their time went; two runs can go by turns.

    The first step, which counts the arithmetic, is taken at once and not timed. Memory in the report is the process's,
    of all runs in it.

    Args:
        run: A fresh run; it cannot be trained afterwards.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        if run.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(run.device)
        self._clock = StepClock(run.device)
        self._stepping = run.steps(self._clock)
        with arithmetic() as counter:
            # To the host: only then is a step done.
            float(next(self._stepping))
        self._flops = counter.get_total_flops()
        self.forget()

    def forget(self) -> None:
        """Leave the steps until here, which warmed up, out of the report."""
        self._steps, self._seconds = 0, 0.0
        self._spent: dict[str, float] = defaultdict(float)

    def step(self) -> float:
        """Take one step.

        Returns:
            Its seconds, the wait for its images included.

        Raises:
            StopIteration: The run has no more steps.
        """
        self._clock.pause()
        started = time.perf_counter()
        float(next(self._stepping))
        seconds = time.perf_counter() - started
        row = self._clock.report(self._run.config.batch_size)
        del row["images_per_s"]
        for name, share in row.items():
            self._spent[name] += share * seconds
        self._steps += 1
        self._seconds += seconds
        return seconds

    def report(self) -> dict[str, Any]:
        """End the run.

        Returns:
            What `run_bench` stores, of the steps since the last `forget`, of which there is at least one.
        """
        run, seconds = self._run, self._seconds / self._steps
        del self._stepping
        with run.matmuls():
            peak = matmul_peak(run.device, run.precision)
        data_rate = _data_rate(run)
        split = {name: spent / self._seconds for name, spent in self._spent.items()}
        forward, teacher = split.get("forward_share", 0.0), split.get("teacher_share", 0.0)
        shares = {
            "data wait": split["data_wait"],
            "views": split.get("views_share", 0.0),
            "teacher": teacher,
            "student forward": max(0.0, forward - teacher),
            "backward": split.get("backward_share", 0.0),
            "update": split.get("update_share", 0.0),
        }
        rest = max(0.0, 1 - sum(shares.values()))
        batch, devices = run.config.batch_size, collectives.world_size()
        return {
            "method": run.config.method_name,
            "student": run.config.student,
            "batch_size": batch,
            "steps": self._steps,
            "devices": devices,
            "device": device_name(run.device),
            "precision": run.precision,
            "images_per_s": _rounded(batch / seconds),
            "images_per_s_per_device": _rounded(batch / seconds / devices),
            "loader_images_per_s": _rounded(data_rate),
            "shares": {name: round(share, 4) for name, share in {**shares, "other": rest}.items()},
            "peak_memory_mb": _peak_memory_mb(run.device),
            "gflop_per_image": round(self._flops / batch * devices / 1e9, 3),
            "matmul_peak_gflops": round(peak / 1e9, 1),
            "flop_utilisation": round(self._flops / seconds / peak, 4),
            "bottleneck": bottleneck(shares),
            # Of all steps until here, those that warmed up included.
            **(
                {"decoded_by_cpu": round(run.decoded_by_cpu() / (run.step * batch), 4)}
                if run.config.decode == "device"
                else {}
            ),
            "versions": versions(),
        }


def bottleneck(shares: dict[str, float]) -> str:
    """What bounds a step: "data" where it waits for images, else the largest of teacher, student and views."""
    if shares["data wait"] > _WAITING:
        return "data"
    student = shares["student forward"] + shares["backward"] + shares["update"]
    parts = {"teacher": shares["teacher"], "student": student, "views": shares["views"]}
    return max(parts, key=lambda name: parts[name])


def matmul_peak(device: torch.device, precision: str, size: int = 0, repeats: int = 5) -> float:
    """The best rate of square matmuls on the device in the run's precision, FLOP/s."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    size = size or (8192 if device.type == "cuda" else 1536)
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(repeats + 1):
        started = _synchronised(device)
        left @ right
        best = min(best, _synchronised(device) - started)
    return 2 * size**3 / best


def _rounded(rate: float) -> float:
    """Four digits: what can be told of a speed."""
    return float(f"{rate:.4g}")


def _data_rate(run: Run) -> float:
    """Images/s of the loader when nothing else runs."""
    batches = iter(run.loader())
    next(batches)
    started, images = time.perf_counter(), 0
    for _ in track(range(_DATA_BATCHES), "timing the loader"):
        batch = next(batches, None)
        if batch is None:
            break
        images += batch.seen
        batch.release()
    return images / (time.perf_counter() - started) * collectives.world_size()


def _peak_memory_mb(device: torch.device) -> float | None:
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    return peak_memory_mb()


def _synchronised(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
