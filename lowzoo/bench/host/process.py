"""What runs in each fresh process of the host target: `python -m lowzoo.bench.host.process < request > answer`.

Request and answer are JSON documents. Nothing but numpy and the engine is imported, so that the memory reported is that
of the model and its engine.
"""

import dataclasses
import json
import os
import sys
import time
from typing import Any

import numpy as np

from lowzoo.base.lazy import resolved_place
from lowzoo.bench.engines import ENGINES, prepare
from lowzoo.bench.host.turns import take_turns
from lowzoo.bench.results.protocol import Protocol, time_runs
from lowzoo.system.memory import peak_memory_mb


def measure(request: dict[str, Any], protocol: Protocol) -> dict[str, Any]:
    """Load the model and time it on one input.

    A sample is one run with the input as a numpy array in memory: binding and the copy of the output are within,
    decoding and resizing of a picture are not.

    Args:
        request: `engine`, `model` (a file, or a MODEL word for PyTorch), `input` (a .npy file), `threads`.
        protocol: How long.
    """
    pixels = np.load(request["input"])
    # The engine's code is no part of loading a model, nor of what the model needs.
    resolved_place(ENGINES[request["engine"]].prepare)
    baseline = peak_memory_mb()
    start = time.perf_counter_ns()
    run = prepare(request["engine"], request["model"], request["threads"], spinning=True)
    loaded = time.perf_counter_ns()
    run(pixels)
    first = time.perf_counter_ns()
    timing = time_runs(lambda: run(pixels), protocol)
    return {
        "load_ms": round((loaded - start) / 1e6, 3),
        "first_run_ms": round((first - loaded) / 1e6, 3),
        "warmup_runs": timing.warmup_runs,
        "samples_ms": timing.samples_ms,
        "baseline_memory_mb": baseline,
        "peak_memory_mb": peak_memory_mb(),
    }


def compare(request: dict[str, Any], protocol: Protocol) -> list[dict[str, Any]]:
    """Load two models and time them in turns; `model` and `input` are pairs.

    Idle threads do not spin: those of A would take the CPU from B.
    """
    runs = []
    for model, place in zip(request["model"], request["input"], strict=True):
        pixels = np.load(place)
        run = prepare(request["engine"], model, request["threads"], spinning=False)
        runs.append(lambda run=run, pixels=pixels: run(pixels))
    return [dataclasses.asdict(turn) for turn in take_turns(runs[0], runs[1], protocol)]


def _main() -> None:
    request = json.load(sys.stdin)
    protocol = Protocol(**request.pop("protocol"))
    # What an engine prints while it loads, from C++ too, must not end up in the answer.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer_to:
        os.dup2(2, 1)
        both = isinstance(request["model"], list)
        json.dump(compare(request, protocol) if both else measure(request, protocol), answer_to)


if __name__ == "__main__":
    _main()
