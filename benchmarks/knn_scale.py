"""Time and peak memory of the k-NN search on random features.

    python benchmarks/knn_scale.py time [--threads 2] [--repeats 3]     # 5,000 queries in 50,000 features of 192
    python benchmarks/knn_scale.py memory [--queries 2000] [--threads 2]    # 1.28 M features of 384 in fp16

What has to hold: under 5 s with two threads, and under 4 GB. --out FILE adds the result to those that FILE holds.

`memory` runs in a fresh process and reports the peak resident size of all of it, torch included, before and after the
search. The bank lies in memory; mapped from a file,
as the cache does it, its pages can be evicted. --queries 0 searches nothing.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lowzoo.evaluate.result import versions
from lowzoo.features.votes import KS, knn_predictions
from lowzoo.io.files import write_text
from lowzoo.system.memory import peak_memory_mb

CLASSES = 1000


def random_features(rows: int, width: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Filled block by block: one call in float32 would itself need four times the memory of fp16."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.empty(rows, width, dtype=dtype)
    for block in x.split(16384):
        block.copy_(torch.randn(block.shape, generator=generator))
    return x


def search(bank: Tensor, queries: Tensor) -> tuple[float, float]:
    """Predict with every k of the protocol; seconds on the clock, and of all processors together."""
    labels = torch.randint(0, CLASSES, (len(bank),), generator=torch.Generator().manual_seed(2))
    began, used = time.perf_counter(), time.process_time()
    knn_predictions(bank, labels, queries, ks=KS)
    return time.perf_counter() - began, time.process_time() - used


def timed(arguments: argparse.Namespace) -> dict[str, Any]:
    bank = random_features(50_000, 192, torch.float32, 0)
    queries = random_features(5_000, 192, torch.float32, 1)
    seconds = [search(bank, queries) for _ in range(arguments.repeats)]
    return {
        "bank": list(bank.shape),
        "queries": list(queries.shape),
        "k": list(KS),
        "seconds": [round(wall, 2) for wall, _ in seconds],
        "median_s": round(statistics.median(wall for wall, _ in seconds), 2),
        "processor_seconds": [round(used, 2) for _, used in seconds],
    }


def memory(arguments: argparse.Namespace) -> dict[str, Any]:
    bank = random_features(1_281_167, 384, torch.float16, 0)
    queries = random_features(arguments.queries, 384, torch.float16, 1)
    before = peak_memory_mb()
    seconds, _ = search(bank, queries) if arguments.queries else (0.0, 0.0)
    return {
        "bank": list(bank.shape),
        "bank_mb": round(bank.numel() * 2 / 1e6),
        "queries": arguments.queries,
        "peak_before_search_mb": before,
        "peak_mb": peak_memory_mb(),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["time", "memory"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.in_process:
        environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
        words = [sys.executable, __file__, *sys.argv[1:], "--in-process"]
        sys.exit(subprocess.run(words, env=environment, check=False).returncode)
    torch.set_num_threads(arguments.threads)
    row = {"what": arguments.what, **(timed(arguments) if arguments.what == "time" else memory(arguments))}
    row |= {"threads": arguments.threads, "load_average": [round(load, 2) for load in os.getloadavg()]}
    print(json.dumps(row, indent=2))
    if arguments.out:
        rows = json.loads(arguments.out.read_text())["rows"] if arguments.out.is_file() else []
        document = {
            "script": "benchmarks/knn_scale.py",
            "machine": {"system": platform.platform(), "cores": os.cpu_count()},
            "versions": versions(),
            "rows": [*rows, row],
        }
        write_text(arguments.out, json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
