"""The host target: this computer's processor, by onnxruntime. A regression guard, not a phone."""

import dataclasses
import json
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import lowzoo
from lowzoo.bench.artifact import OnnxFile, open_onnx, real_input
from lowzoo.bench.machine import check_threads, condition_now, this_device
from lowzoo.bench.protocol import QUICK, STANDARD, Protocol, Spread, Statistics, percentile, spread, statistics
from lowzoo.bench.schema import BenchResult, Condition, Engine, Repeat
from lowzoo.data.progress import progress_bar
from lowzoo.errors import LowzooError

# Beyond these a figure still is what was measured, and the result says why it may not come out again: load by core,
# distance of the medians, and p90 over the quickest run.
BUSY = 0.5
WIDE = 0.1
UNEVEN = 1.5


def bench_host(
    artifact: Path, *, protocol: Protocol = STANDARD, threads: int = 1, progress: bool = True
) -> BenchResult:
    """Time an ONNX file on this computer, one fresh process a repeat.

    Args:
        artifact: The file; of `lowzoo export`, or any that takes one RGB picture.
        protocol: How long and how often.
        threads: For one operator.
        progress: Show a bar on stderr.

    Raises:
        LowzooError: No such file, one that cannot be loaded or fed, or an impossible number of threads.
    """
    from lowzoo.bench import host_process

    check_threads(threads)
    file = open_onnx(artifact)
    pixels, photo = real_input(file)
    device, before = this_device(), condition_now()
    repeats: list[Repeat] = []
    with tempfile.TemporaryDirectory(prefix="lowzoo-bench-") as folder:
        input_file = Path(folder) / "input.npy"
        np.save(input_file, pixels)
        request = {
            "model": str(artifact.resolve()),
            "input": str(input_file),
            "threads": threads,
            "protocol": dataclasses.asdict(protocol),
        }
        with progress_bar(f"timing {artifact.name}", protocol.repeats, wanted=progress) as advance:
            for _ in range(protocol.repeats):
                repeats.append(_repeat(request, file))
                advance(1)
    found = statistics([sample for repeat in repeats for sample in repeat.samples_ms])
    medians = spread([repeat.statistics.median_ms for repeat in repeats]) if len(repeats) > 1 else None
    return BenchResult(
        target="host",
        protocol=protocol,
        quick=protocol == QUICK,
        device=device,
        before=before,
        after=condition_now(),
        engine=Engine(
            name="onnxruntime",
            version=version("onnxruntime"),
            provider=host_process.PROVIDER,
            threads=threads,
            settings=host_process.SETTINGS,
        ),
        model=file.facts(),
        input=file.input_facts(f"photograph {photo}"),
        statistics=found,
        spread=medians,
        load_ms=percentile(sorted(repeat.load_ms for repeat in repeats), 50),
        first_run_ms=percentile(sorted(repeat.first_run_ms for repeat in repeats), 50),
        peak_memory_mb=max((repeat.peak_memory_mb for repeat in repeats if repeat.peak_memory_mb), default=None),
        repeats=tuple(repeats),
        versions={
            "lowzoo": lowzoo.__version__,
            "onnxruntime": version("onnxruntime"),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        warnings=_warnings(before, found, medians, device.cores, protocol),
    )


def _repeat(request: dict[str, Any], file: OnnxFile) -> Repeat:
    """Time in a fresh process."""
    # -P keeps the current folder, where a file may be called numpy.py, off the module path.
    command = [sys.executable, "-P", "-m", "lowzoo.bench.host_process"]
    ended = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        reason = (ended.stderr.strip().splitlines() or [f"status {ended.returncode}"])[-1][:200]
        raise LowzooError(f"{file.path} cannot be run ({reason})", "Export it again, or free some memory")
    answer = json.loads(ended.stdout)
    return Repeat(**answer, statistics=statistics(answer["samples_ms"]))


def _warnings(
    before: Condition, found: Statistics, medians: Spread | None, cores: int, protocol: Protocol
) -> tuple[str, ...]:
    """Tell what a reader must know before trusting the figures."""
    said = ["a computer's processor: a regression guard, not a phone"]
    if protocol == QUICK or protocol.repeats < STANDARD.repeats:
        said.append("not the standard protocol: a first impression, not for publication")
    if before.load_average is not None and before.load_average > BUSY * cores:
        said.append(f"the machine was busy before the start: load {before.load_average:.1f} on {cores} cores")
    if found.p90_ms > UNEVEN * found.min_ms:
        said.append(f"the runs are uneven: p90 is {found.p90_ms / found.min_ms:.1f} times the quickest")
    if medians is not None and medians.relative > WIDE:
        said.append(f"the medians of the repeats lie {100 * medians.relative:.0f} % apart")
    return tuple(said)
