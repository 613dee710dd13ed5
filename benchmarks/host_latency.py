"""Does `lowzoo bench` add anything to the time it measures? Its samples against a bare onnxruntime loop.

    python benchmarks/host_latency.py [ARTIFACT] [--rounds N] [--json] [--check]

Without ARTIFACT the bundled model is exported first. Both run in this process, on one session and one real picture, and
take turns in blocks (ours, bare, bare, ours), so that whatever else the machine does falls upon both. `ours` is
`lowzoo.bench.protocol.time_runs` as every repeat of `lowzoo bench` calls it; `bare` is the loop anybody would write.
`--check` ends with 1 unless the two medians lie within 3 % of each other.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from lowzoo.bench.artifact import open_onnx, real_input
from lowzoo.bench.host_process import open_session
from lowzoo.bench.machine import condition_now, this_device
from lowzoo.bench.protocol import Protocol, time_runs
from lowzoo.export import export

BLOCK = 50
BOUND = 0.03


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


def measure(artifact: Path, rounds: int) -> dict[str, Any]:
    """Take turns, and compare."""
    file = open_onnx(artifact)
    feed = {file.input_name: real_input(file)[0]}
    session = open_session(artifact, threads=1)
    before = condition_now()
    ours(session, feed)  # warms up
    blocks: dict[str, list[list[float]]] = {"ours": [], "bare": []}
    for _ in range(rounds):
        for name, block in (("ours", ours), ("bare", bare), ("bare", bare), ("ours", ours)):
            blocks[name].append(block(session, feed))
    medians = {name: statistics.median(ms for block in found for ms in block) for name, found in blocks.items()}
    apart = medians["ours"] / medians["bare"] - 1
    return {
        "benchmark": "host_latency",
        "artifact": file.facts().model_dump(),
        "rounds": rounds,
        "runs_each": 2 * rounds * BLOCK,
        "median_ms": medians,
        "min_ms": {name: min(ms for block in found for ms in block) for name, found in blocks.items()},
        "block_medians_ms": {name: [statistics.median(block) for block in found] for name, found in blocks.items()},
        "ours_over_bare": apart,
        "bound": BOUND,
        "passed": abs(apart) <= BOUND,
        "device": this_device().model_dump(),
        "before": before.model_dump(),
        "after": condition_now().model_dump(),
        "python": platform.python_version(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path, nargs="?", help="an ONNX file (default: the bundled model)")
    parser.add_argument("--rounds", type=int, default=10, help=f"of four blocks of {BLOCK} runs (default 10)")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--check", action="store_true", help="end with 1 when the bound is missed")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        artifact = options.artifact or export("rob_vit_tiny", out=Path(folder) / "rob_vit_tiny.onnx").path
        report = measure(artifact, options.rounds)
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print(f"{report['artifact']['file']} on {report['device']['cpu']}, load {report['before']['load_average']}")
        print(f"{'':6}{'median ms':>12}{'min ms':>12}{'blocks, ms':>22}")
        for name in ("ours", "bare"):
            blocks = report["block_medians_ms"][name]
            median, least = report["median_ms"][name], report["min_ms"][name]
            print(f"{name:6}{median:12.4f}{least:12.4f}{f'({min(blocks):.3f} to {max(blocks):.3f})':>22}")
        print(f"ours differs by {100 * report['ours_over_bare']:+.2f} % (bound {100 * BOUND:.0f} %)")
    return int(options.check and not report["passed"])


if __name__ == "__main__":
    sys.exit(main())
