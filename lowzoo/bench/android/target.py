"""Time a model on a phone: push, run in fresh processes on the fastest cores, cool down between them, clean up."""

import shlex
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from lowzoo.base.errors import LowzooError
from lowzoo.base.progress import progress_bar
from lowzoo.bench.android.phone import FOLDER, Phone, check_abi, condition, describe, pinning
from lowzoo.bench.android.runners import RUNNERS, Runner, Said
from lowzoo.bench.results.assemble import assemble, now_utc, repeat_of
from lowzoo.bench.results.protocol import STANDARD, Protocol, runs_for, statistics
from lowzoo.bench.results.schema import BenchResult, Condition, Engine, ModelFile, ModelInput, Repeat
from lowzoo.bench.subjects.artifact import identify_other, open_onnx
from lowzoo.export.formats.executorch.coreml import hands_to_core_ml
from lowzoo.export.spec.large import refuse_two_files
from lowzoo.io.safetensors_file import sha256

PROBE_RUNS = 5
WARMER_C = 1.0
COOL_S = 120.0
PAUSE_S = 5.0


def bench_android(
    artifact: Path,
    phone: Phone,
    runner: Path | None,
    *,
    engine: str = "onnxruntime",
    protocol: Protocol = STANDARD,
    threads: int = 1,
    progress: bool = True,
    sleep: Callable[[float], None] = time.sleep,
) -> BenchResult:
    """Time a model on a phone, one fresh process a repeat.

    Args:
        artifact: The file that the engine runs.
        phone: Where.
        runner: The engine's benchmark program, built for the phone; see `lowzoo.bench.android.runners`.
        engine: onnxruntime, litert or executorch.
        protocol: How long and how often.
        threads: For one operator.
        progress: Show a bar on stderr.
        sleep: Waits for the phone to cool down.

    Raises:
        LowzooError: No runner or one for another CPU, no room, a run that fails, or a phone that goes away.
    """
    program = RUNNERS[engine]
    model = _identify(artifact, program)
    if runner is None or not runner.is_file():
        raise LowzooError(
            f"the runner {runner} does not exist" if runner else f"a phone needs {program.program}",
            f"Name {program.program}, built for the phone, with --runner (`lowzoo bench --help` says where to get it)",
        )
    device = describe(phone)
    check_abi(runner, phone, device.arch)
    _check_room(phone, artifact.stat().st_size + runner.stat().st_size)
    before, start = condition(phone), now_utc()
    repeats: list[Repeat] = []
    hot = 0
    with (
        phone.folder() as folder,
        progress_bar(f"timing on {phone.serial}", protocol.repeats + 1, wanted=progress) as say,
    ):
        phone.push(runner, f"{folder}/runner", 0o755)
        for library in sorted(runner.parent.glob("*.so")):  # a runner that is not static needs its runtime beside it
            phone.push(library, f"{folder}/{library.name}")
        phone.push(artifact, f"{folder}/model{program.suffix}")
        prefix, pinned_to = pinning(phone, threads)
        probe = _process(phone, program, folder, prefix, threads, 1, PROBE_RUNS)
        say(1)
        warmups, runs = runs_for(statistics(probe.samples_ms).median_ms, protocol)
        for _ in range(protocol.repeats):
            hot += not cooled(phone, before, sleep)
            said = _process(phone, program, folder, prefix, threads, warmups, runs)
            repeats.append(_repeat(said, warmups))
            say(1)
        after = condition(phone)
    warnings = [program.note] if program.note else []
    if hot:
        warnings.append(f"the phone had not cooled down before {hot} of {protocol.repeats} processes")
    if before.thermal_status not in (None, "0") or after.thermal_status not in (None, "0"):
        warnings.append("the phone throttles: its thermal status is not 0")
    return assemble(
        repeats,
        target="android",
        measured_at=start,
        protocol=protocol,
        device=device,
        before=before,
        after=after,
        engine=Engine(
            name=engine,
            version=f"of the runner, sha256 {sha256(runner)[:12]}",
            provider="XNNPACK" if engine != "onnxruntime" else "CPUExecutionProvider",
            threads=threads,
            settings={"runner": program.program, "pinned_to": pinned_to},
        ),
        model=model,
        input=_input(artifact, program),
        versions={"lowzoo": version("lowzoo")},
        warnings=warnings,
    )


def _process(phone: Phone, program: Runner, folder: str, prefix: str, threads: int, warmups: int, runs: int) -> Said:
    samples = f"{folder}/samples.csv"
    words = program.command(f"{folder}/model{program.suffix}", samples, threads, warmups, runs)
    line = f"{prefix}{shlex.join([f'{folder}/runner', *words])}"
    ended = phone.shell(f"rm -f {samples}; cd {folder} && LD_LIBRARY_PATH={folder} {line}", timeout_s=600.0)
    if ended.status != 0:
        lines = [text.strip() for text in ended.output.splitlines() if text.strip()]
        died = f"by signal {ended.status - 128}" if ended.status > 128 else f"with status {ended.status}"
        reason = f": {lines[-1][:160]}" if lines else ""
        raise LowzooError(
            f"{program.program} ended {died}{reason}", "Try the model on this computer, or another runner"
        )
    written = phone.read(samples) if program.engine == "onnxruntime" else ""
    return program.read(ended.output, written, warmups, runs)


def _repeat(said: Said, warmups: int) -> Repeat:
    return repeat_of(
        said.samples_ms,
        runs_per_sample=said.runs_per_sample,
        load_ms=said.load_ms,
        first_run_ms=said.first_run_ms,
        warmup_runs=warmups,
        baseline_memory_mb=None,
        peak_memory_mb=said.peak_memory_mb,
    )


def cooled(phone: Phone, start: Condition, sleep: Callable[[float], None]) -> bool:
    """Wait until the phone is as cool as at the start.

    Args:
        phone: Which.
        start: How it fared at the start.
        sleep: Waits.

    Returns:
        False if it takes longer than `COOL_S`.
    """
    waited = 0.0
    while True:
        now = condition(phone)
        warm = None not in (now.temperature_c, start.temperature_c) and (
            (now.temperature_c or 0) > (start.temperature_c or 0) + WARMER_C
        )
        if not warm and (now.thermal_status or "0") <= (start.thermal_status or "0"):
            return True
        if waited >= COOL_S:
            return False
        sleep(PAUSE_S)
        waited += PAUSE_S


def _check_room(phone: Phone, needed: int) -> None:
    free = phone.free_bytes()
    if free is not None and free < needed:
        raise LowzooError(
            f"{phone.serial} has {free / 1e6:.0f} MB free in {FOLDER}, {needed / 1e6:.0f} MB are needed",
            "Free some of its storage",
        )


def _identify(artifact: Path, program: Runner) -> ModelFile:
    if program.suffix == ".onnx":
        refuse_two_files(artifact, "the runner on a phone")
        return open_onnx(artifact).facts()
    if not artifact.is_file():
        raise LowzooError(f"{artifact} does not exist", f"Name a {program.suffix} file")
    if program.suffix == ".pte" and hands_to_core_ml(artifact):
        raise LowzooError(f"{artifact} is for Core ML, which no Android phone has", "Export it without --for coreml")
    return identify_other(artifact)


def _input(artifact: Path, program: Runner) -> ModelInput:
    if program.suffix == ".onnx":
        return open_onnx(artifact).input_facts(program.content)
    return ModelInput(name="input 0", type="of the file", shape=(1,), content=program.content)
