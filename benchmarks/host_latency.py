"""Can the host target be trusted? Three questions, each with the bound that it has to keep.

    python benchmarks/host_latency.py [ARTIFACT] [--out FILE] [--check]

1. Does `lowzoo bench` add anything to the time it measures? Its samples against a bare onnxruntime loop: five sessions,
   in each both take turns in blocks (ours, bare, bare, ours), so that whatever else the machine does falls upon both.
   The median over the five sessions of the ratio of medians has to lie within 3 % of 1.
2. Does the comparison of two files invent a difference? ARTIFACT against itself: the interval has to hold 1.
3. Does it see one that is there? ResNet-18 in int8 against fp32 (random weights): the interval must not hold 1.

Without ARTIFACT the bundled model is exported first. `--check` ends with 1 when a bound is missed.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from lowzoo.bench.engines.ort import open_session
from lowzoo.bench.host.machine import condition_now, this_device
from lowzoo.bench.host.target import compare_host
from lowzoo.bench.results.protocol import Protocol, time_runs
from lowzoo.bench.subjects.artifact import open_onnx, real_input
from lowzoo.export import ExportSpec, MaxLoss
from lowzoo.export.artifact import write_artifact
from lowzoo.zoo.resolve import load_model

BLOCK = 50
ROUNDS = 4
REPEATS = 5
BOUND = 0.03
# Half the standard's time in each of five processes: the whole has to end within minutes.
TURNS = Protocol(warmup_s=1.0, min_runs=100, min_s=1.0, max_s=5.0, repeats=5)


def ours(session: Any, feed: dict[str, np.ndarray]) -> list[float]:
    """A block of samples by the project's timer, ms."""
    protocol = Protocol(warmup_s=0.0, min_runs=BLOCK, min_s=0.0, max_s=1e9, repeats=1)
    return list(time_runs(lambda: session.run(None, feed), protocol).samples_ms)


def bare(session: Any, feed: dict[str, np.ndarray]) -> list[float]:
    """A block of samples by the loop anybody would write, ms."""
    samples = []
    for _ in range(BLOCK):
        start = time.perf_counter()
        session.run(None, feed)
        samples.append((time.perf_counter() - start) * 1e3)
    return samples


def against_bare(artifact: Path) -> dict[str, Any]:
    """Question 1."""
    file = open_onnx(artifact)
    feed = {file.input_name: real_input(file)[0]}
    rows = []
    for _ in range(REPEATS):
        session = open_session(artifact, threads=1)
        ours(session, feed)  # warms up
        blocks: dict[str, list[float]] = {"ours": [], "bare": []}
        for _ in range(ROUNDS):
            for name, block in (("ours", ours), ("bare", bare), ("bare", bare), ("ours", ours)):
                blocks[name] += block(session, feed)
        medians = {name: statistics.median(samples) for name, samples in blocks.items()}
        rows.append({**{f"{name}_ms": ms for name, ms in medians.items()}, "ratio": medians["ours"] / medians["bare"]})
    ratio = statistics.median(row["ratio"] for row in rows)
    return {
        "artifact": file.facts().model_dump(),
        "runs_each_a_repeat": 2 * ROUNDS * BLOCK,
        "repeats": rows,
        "ratio": ratio,
        "bound": BOUND,
        "passed": abs(ratio - 1) <= BOUND,
    }


def in_turns(a: Path, b: Path, *, same: bool) -> dict[str, Any]:
    """Questions 2 and 3."""
    found = compare_host([a, b], protocol=TURNS)
    ratio = found.ratio
    return {
        "a": found.a.model_dump(),
        "b": found.b.model_dump(),
        "ratio": ratio.ratio,
        "interval": [ratio.low, ratio.high],
        "confidence": ratio.confidence,
        "processes": ratio.processes,
        "turns": ratio.turns,
        "verdict": ratio.verdict,
        "passed": (ratio.low <= 1 <= ratio.high) is same,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path, nargs="?", help="an ONNX file (default: the bundled model)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    parser.add_argument("--check", action="store_true", help="end with 1 when a bound is missed")
    options = parser.parse_args()

    before = condition_now(1.0)
    with tempfile.TemporaryDirectory() as folder:
        artifact = options.artifact or write_artifact("rob_vit_tiny", out=Path(folder) / "rob_vit_tiny.onnx").path
        network = load_model("resnet18", pretrained=False)
        lossless = MaxLoss(100.0)  # nobody judges the accuracy of random weights
        int8 = write_artifact(
            network, ExportSpec(precision="int8", max_loss=lossless), Path(folder) / "resnet18_int8.onnx"
        ).path
        fp32 = write_artifact(network, ExportSpec(), Path(folder) / "resnet18_fp32.onnx").path
        report = {
            "benchmark": "host_latency",
            "against_bare": against_bare(artifact),
            "with_itself": in_turns(artifact, artifact, same=True),
            "int8_against_fp32": in_turns(fp32, int8, same=False),
            "device": this_device().model_dump(),
            "before": before.model_dump(),
            "load_average_at_end": os.getloadavg(),
            "versions": {"python": platform.python_version(), "onnxruntime": onnxruntime.__version__},
        }
    text = json.dumps(report, indent=2) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    print(text, end="")
    parts = (report["against_bare"], report["with_itself"], report["int8_against_fp32"])
    return int(options.check and not all(part["passed"] for part in parts))


if __name__ == "__main__":
    sys.exit(main())
