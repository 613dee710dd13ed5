"""What runs in each fresh process of the host target: `python -m lowzoo.bench.host_process < request > answer`.

Request and answer are JSON documents. Nothing but numpy and the engine is imported, so that the memory reported is that
of the model and its engine.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from lowzoo.bench.memory import peak_memory_mb
from lowzoo.bench.protocol import Protocol, time_runs

# What stands in a result as the engine's settings is what `open_session` sets.
SETTINGS = {"graph_optimization": "all", "execution_mode": "sequential", "inter_op_threads": "1", "spinning": "default"}
PROVIDER = "CPUExecutionProvider"


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Load an ONNX file as every measurement on this computer does."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors; a warning of the runtime is nothing a user can act upon
    return onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])


def measure(model: Path, input_file: Path, threads: int, protocol: Protocol) -> dict[str, Any]:
    """Load the model and time it on one input.

    A sample is one `session.run` with the input as a numpy array in memory: binding and the copy of the output are
    within, decoding and resizing of a picture are not.
    """
    pixels = np.load(input_file)
    baseline = peak_memory_mb()
    start = time.perf_counter_ns()
    session = open_session(model, threads)
    loaded = time.perf_counter_ns()
    feed = {session.get_inputs()[0].name: pixels}
    session.run(None, feed)
    first = time.perf_counter_ns()
    timing = time_runs(lambda: session.run(None, feed), protocol)
    return {
        "load_ms": round((loaded - start) / 1e6, 3),
        "first_run_ms": round((first - loaded) / 1e6, 3),
        "warmup_runs": timing.warmup_runs,
        "samples_ms": timing.samples_ms,
        "baseline_memory_mb": baseline,
        "peak_memory_mb": peak_memory_mb(),
    }


def _main() -> None:
    request = json.load(sys.stdin)
    answer = measure(
        Path(request["model"]), Path(request["input"]), request["threads"], Protocol(**request["protocol"])
    )
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    _main()
