"""The runtimes' own benchmark programs: how each is called, and how what it says is read.

Where to get them, built for the phone's ABI (arm64-v8a nearly always):
  onnxruntime_perf_test   onnxruntime: ./build.sh --android --android_abi arm64-v8a --config Release
  benchmark_model         LiteRT: the prebuilt android_aarch64_benchmark_model, or bazel build -c opt
                          --config=android_arm64 //tflite/tools/benchmark:benchmark_model
  executor_runner         ExecuTorch: cmake with the NDK's toolchain file, -DEXECUTORCH_BUILD_XNNPACK=ON and
                          -DEXECUTORCH_BUILD_EXECUTOR_RUNNER=ON
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lowzoo.base.errors import LowzooError


@dataclass(frozen=True, slots=True)
class Said:
    """What one process of a runner said.

    Args:
        samples_ms: Time of each run; a single mean where `runs_per_sample` is above 1.
        runs_per_sample: Runs in the mean.
        load_ms: Time to load the model.
        first_run_ms: The first run.
        peak_memory_mb: Peak memory of the process.
    """

    samples_ms: tuple[float, ...]
    runs_per_sample: int = 1
    load_ms: float | None = None
    first_run_ms: float | None = None
    peak_memory_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Runner:
    """A benchmark program.

    Args:
        engine: Name of the runtime.
        program: Usual name of the file.
        suffix: Suffix of the models that it runs.
        content: What it feeds the model.
        command: Words after the program: model, file for samples, threads, warm-up runs, runs.
        read: Reads its output and the file of samples.
        note: What a reader of its figures must know; empty if nothing.
    """

    engine: str
    program: str
    suffix: str
    content: str
    command: Callable[[str, str, int, int, int], Sequence[str]]
    read: Callable[[str, str, int, int], Said]
    note: str = ""


def _onnxruntime_command(model: str, samples: str, threads: int, warmups: int, runs: int) -> list[str]:
    # It warms up by a single run, so the runs that warm up are timed as well and left out afterwards.
    number = str(warmups + runs)
    return ["-e", "cpu", "-x", str(threads), "-y", "1", "-I", "-m", "times", "-r", number, model, samples]


def _onnxruntime_read(output: str, samples: str, warmups: int, runs: int) -> Said:
    # Newer builds write the time of submission too, in front of that of the whole run.
    rows = [line.rsplit(",", 4) for line in samples.splitlines() if line.count(",") >= 4]
    try:
        seconds = [float(row[1]) for row in rows]
        peak = max(int(row[2]) for row in rows)
    except (ValueError, IndexError) as error:
        raise unreadable("onnxruntime_perf_test", output) from error
    if len(seconds) != warmups + runs:
        raise unreadable("onnxruntime_perf_test", output)
    return Said(
        tuple(round(second * 1e3, 6) for second in seconds[warmups:]),
        load_ms=_number(r"Session creation time cost:\s*([\d.e+-]+) s", output, 1e3),
        first_run_ms=_number(r"First inference time cost:\s*([\d.e+-]+) ms", output),
        peak_memory_mb=round(peak / 1e6, 2) if peak else None,
    )


def _litert_command(model: str, samples: str, threads: int, warmups: int, runs: int) -> list[str]:
    fixed = ["--min_secs=0", "--max_secs=150", "--warmup_min_secs=0", "--use_xnnpack=true"]
    return [f"--graph={model}", f"--num_threads={threads}", f"--warmup_runs={warmups}", f"--num_runs={runs}", *fixed]


def _litert_read(output: str, samples: str, warmups: int, runs: int) -> Said:
    mean = _number(r"Inference \(avg\): ([\d.e+-]+)", output, 1e-3)
    if mean is None:
        raise unreadable("benchmark_model", output)
    # A slow model is stopped after `--max_secs`, so the runs may be fewer than were asked for.
    counts = re.findall(r"\bcount=(\d+) first=", output)
    return Said(
        (mean,),
        int(counts[-1]) if counts else runs,
        load_ms=_number(r"Init: ([\d.e+-]+)", output, 1e-3),
        first_run_ms=_number(r"First inference: ([\d.e+-]+)", output, 1e-3),
    )


def _executorch_command(model: str, samples: str, threads: int, warmups: int, runs: int) -> list[str]:
    return [f"--model_path={model}", f"--num_executions={runs}", f"--cpu_threads={threads}"]


def _executorch_read(output: str, samples: str, warmups: int, runs: int) -> Said:
    found = re.search(r"Model executed successfully (\d+) time\(s\) in ([\d.]+) ms", output)
    if found is None or int(found[1]) != runs:
        raise unreadable("executor_runner", output)
    return Said((float(found[2]) / runs,), runs)


def unreadable(program: str, output: str) -> LowzooError:
    """The error for a program whose words mean nothing to us."""
    last = (output.strip().splitlines() or ["nothing"])[-1][:160]
    return LowzooError(f"{program} said nothing that can be read ({last})", "Use a current build of the runner")


def _number(pattern: str, text: str, factor: float = 1.0) -> float | None:
    found = re.search(pattern, text)
    return round(float(found[1]) * factor, 6) if found else None


RUNNERS = {
    runner.engine: runner
    for runner in (
        Runner(
            "onnxruntime",
            "onnxruntime_perf_test",
            ".onnx",
            "random numbers of the runner",
            _onnxruntime_command,
            _onnxruntime_read,
        ),
        Runner(
            "litert",
            "benchmark_model",
            ".tflite",
            "random numbers of the runner",
            _litert_command,
            _litert_read,
            "the runner tells means only: percentiles are of processes, not of runs",
        ),
        Runner(
            "executorch",
            "executor_runner",
            ".pte",
            "ones",
            _executorch_command,
            _executorch_read,
            "the runner tells means only, the first, cold run included: percentiles are of processes, not of runs",
        ),
    )
}
