"""The host target: this computer's CPU. A regression guard, not a phone."""

import dataclasses
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from lowzoo.base.errors import LowzooError
from lowzoo.base.progress import progress_bar
from lowzoo.bench.engines import ENGINES, EngineFacts
from lowzoo.bench.host.comparison import Comparison
from lowzoo.bench.host.machine import condition_now, this_device
from lowzoo.bench.host.turns import Turn, ratio_of
from lowzoo.bench.results.assemble import BUSY, assemble, now_utc, repeat_of, weights_warning
from lowzoo.bench.results.protocol import STANDARD, Protocol
from lowzoo.bench.results.schema import BenchResult, Condition, Engine, Repeat
from lowzoo.bench.subjects.subject import Subject, subject_of
from lowzoo.system.cores import check_threads
from lowzoo.system.load import OtherLoad

GUARD = "a computer's CPU: a regression guard, not a phone"
WATCH_S = 0.5


def bench_host(
    artifact: Path | str,
    *,
    protocol: Protocol = STANDARD,
    threads: int = 1,
    engine: str = "onnxruntime",
    refuse_load: bool = False,
    progress: bool = True,
) -> BenchResult:
    """Time a model on this computer, one fresh process a repeat.

    Args:
        artifact: The file that the engine runs; for PyTorch a MODEL word.
        protocol: How long and how often.
        threads: For one operator.
        engine: Which runtime.
        refuse_load: Raise instead of timing when something else uses the CPU.
        progress: Show a bar on stderr.

    Raises:
        LowzooError: No such file, one that cannot be loaded or fed, an impossible number of threads, or load.
    """
    check_threads(threads)
    facts = ENGINES[engine]
    subject = subject_of(facts, str(artifact))
    device, before, start = this_device(), _condition(refuse_load), now_utc()
    repeats: list[Repeat] = []
    with tempfile.TemporaryDirectory(prefix="lowzoo-bench-") as folder:
        request = {
            "engine": engine,
            "model": subject.model,
            "input": _saved(subject, Path(folder), "input"),
            "threads": threads,
            "protocol": dataclasses.asdict(protocol),
        }
        with progress_bar(f"timing {subject.facts.file}", protocol.repeats, wanted=progress) as advance:
            for _ in range(protocol.repeats):
                watch = OtherLoad()
                answer = _process(request, subject.facts.file)
                repeats.append(repeat_of(answer.pop("samples_ms"), other_load=watch.cores(), **answer))
                advance(1)
    return assemble(
        repeats,
        target="host",
        measured_at=start,
        protocol=protocol,
        device=device,
        before=before,
        after=condition_now(),
        engine=_engine(facts, threads, spinning=True, provider=subject.provider),
        model=subject.facts,
        input=subject.input,
        versions=_versions(facts),
        warnings=(GUARD, *subject.warnings()),
    )


def compare_host(
    artifacts: Sequence[Path | str],
    *,
    protocol: Protocol = STANDARD,
    threads: int = 1,
    engine: str = "onnxruntime",
    refuse_load: bool = False,
    progress: bool = True,
) -> Comparison:
    """Time two models in turns, in fresh processes.

    Args:
        artifacts: A and B.
        protocol: Protocol of each process; the time of one model counts for each.
        threads: For one operator.
        engine: Which runtime.
        refuse_load: Raise instead of timing when something else uses the CPU.
        progress: Show a bar on stderr.

    Raises:
        LowzooError: As `bench_host`.
    """
    check_threads(threads)
    facts = ENGINES[engine]
    subject_a, subject_b = (subject_of(facts, str(artifact)) for artifact in artifacts)
    device, before, start = this_device(), _condition(refuse_load), now_utc()
    processes: list[tuple[Turn, ...]] = []
    with tempfile.TemporaryDirectory(prefix="lowzoo-bench-") as folder:
        request = {
            "engine": engine,
            "model": [subject_a.model, subject_b.model],
            "input": [_saved(subject_a, Path(folder), "a"), _saved(subject_b, Path(folder), "b")],
            "threads": threads,
            "protocol": dataclasses.asdict(protocol),
        }
        both = f"{subject_a.facts.file} and {subject_b.facts.file}"
        with progress_bar(f"timing {both} in turns", protocol.repeats, wanted=progress) as advance:
            for _ in range(protocol.repeats):
                turns = _process(request, both)
                processes.append(tuple(Turn(tuple(turn["a_ms"]), tuple(turn["b_ms"])) for turn in turns))
                advance(1)
    said = [GUARD]
    for name, subject in (("A", subject_a), ("B", subject_b)):
        said += [f"{name}: {text}" for text in (*subject.warnings(), *weights_warning(subject.facts))]
    if before.load_average is not None and before.load_average > BUSY * (device.cores or 1):
        said.append(f"the machine was busy before the start: load {before.load_average:.1f} on {device.cores} cores")
    return Comparison(
        measured_at=start,
        protocol=protocol,
        device=device,
        before=before,
        after=condition_now(),
        engine=_engine(facts, threads, spinning=False, provider=subject_a.provider),
        a=subject_a.facts,
        b=subject_b.facts,
        ratio=ratio_of(processes),
        processes=tuple(processes),
        versions=_versions(facts),
        warnings=tuple(said),
    )


def _condition(refuse_load: bool) -> Condition:
    found = condition_now(WATCH_S)
    if refuse_load and found.busy_cores is not None and found.busy_cores > BUSY:
        raise LowzooError(
            f"this computer is busy: {found.busy_cores:.1f} cores are in use",
            "Wait until it is idle, or leave out --refuse-load to have the result flagged",
        )
    return found


def _saved(subject: Subject, folder: Path, name: str) -> str:
    place = folder / f"{name}.npy"
    np.save(place, subject.pixels)
    return str(place)


def _process(request: dict[str, Any], name: str) -> Any:
    """Have a fresh process do what a request asks."""
    # -P keeps the current folder, where a file may be called numpy.py, off the module path.
    command = [sys.executable, "-P", "-m", "lowzoo.bench.host.process"]
    ended = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        reason = (ended.stderr.strip().splitlines() or [f"status {ended.returncode}"])[-1][:200]
        raise LowzooError(f"{name} cannot be run ({reason})", "Export it again, or free some memory")
    return json.loads(ended.stdout)


def _engine(facts: EngineFacts, threads: int, *, spinning: bool, provider: str) -> Engine:
    settings = dict(facts.settings)
    if facts.spins:
        settings["spinning"] = "on" if spinning else "off"
    return Engine(
        name=facts.name,
        version=facts.version,
        provider=provider or facts.provider,
        threads=threads,
        settings=settings,
    )


def _versions(facts: EngineFacts) -> dict[str, str]:
    return {
        "lowzoo": version("lowzoo"),
        facts.distribution: facts.version,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
