"""Time and peak memory of the k-NN search on random features.

    python benchmarks/knn_scale.py time [--threads 2] [--repeats 3]     # 5,000 queries in 50,000 features of 192
    python benchmarks/knn_scale.py memory [--queries 2000] [--threads 2]    # 1.28 M features of 384 in fp16
    python benchmarks/knn_scale.py processes [--queries 50000] [--width 64]     # 1.28 M in fp16, by one process and two
    python benchmarks/knn_scale.py approximate [--queries 2000] [--width 64]    # 1.28 M in heaps, by an index

What has to hold: under 5 s with two threads, and under 4 GB; two processes give every prediction of one, for each k; an
index finds 95 % of the exact neighbours. --out FILE adds the result to those that FILE holds.

`memory` runs in a fresh process and reports the peak resident size of all of it, torch included, before and after the
search. The bank lies in memory; mapped from a file,
as the cache does it, its pages can be evicted. --queries 0 searches nothing. `processes` maps the bank from a file in
--work, gives one process all threads and each of two half of them, and joins these as `torchrun` would.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lowzoo.evaluate.result import versions
from lowzoo.features.approximate import approximate_neighbours
from lowzoo.features.votes import KS, knn_predictions, nearest_neighbours
from lowzoo.io.files import write_text
from lowzoo.system.memory import peak_memory_mb
from lowzoo.system.processes import join, joined

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


def divided(arguments: argparse.Namespace) -> dict[str, Any]:
    """The same predictions by one process and by two, which divide the queries as `lowzoo eval knn` does."""
    folder = Path(tempfile.mkdtemp(dir=arguments.work))
    try:
        bank = random_features(arguments.bank, arguments.width, torch.float16, 0)
        save_file(
            {"bank": bank, "queries": random_features(arguments.queries, arguments.width, torch.float16, 1)},
            folder / "x",
        )
        row: dict[str, Any] = {"bank": list(bank.shape), "queries": arguments.queries, "k": list(KS)}
        del bank
        for count in (1, 2):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
            began = time.perf_counter()
            children = []
            for rank in range(count):
                environment = os.environ | meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                environment |= {"WORLD_SIZE": str(count), "OMP_NUM_THREADS": str(max(1, arguments.threads // count))}
                words = [sys.executable, __file__, "part", "--work", str(folder), "--in-process", "--threads"]
                words.append(str(max(1, arguments.threads // count)))
                children.append(subprocess.Popen(words, env=environment))
            ended = [child.wait() for child in children]
            if any(ended):
                raise SystemExit("a process failed")
            row[f"seconds_of_{count}"] = round(time.perf_counter() - began, 1)
        one, two = (load_file(folder / f"found-{count}") for count in (1, 2))
        row["different_predictions"] = {k: int((one[k] != two[k]).sum()) for k in one if k.isdigit()}
        row["different_similarities"] = int((one["similarity"] != two["similarity"]).sum())
        row["peak_mb"] = {count: json.loads((folder / f"memory-{count}").read_text()) for count in (1, 2)}
    finally:
        shutil.rmtree(folder)
    return row


def part(arguments: argparse.Namespace) -> dict[str, Any]:
    """What one of some processes does."""
    join(torch.device("cpu"))
    among = joined()
    with safe_open(arguments.work / "x", framework="pt") as file:
        bank, queries = file.get_tensor("bank"), file.get_tensor("queries")
    labels = torch.randint(0, CLASSES, (len(bank),), generator=torch.Generator().manual_seed(2))
    mine = among.part(len(queries))
    rows = queries[mine.start : mine.stop]
    found = {str(k): among.gather_rows(value) for k, value in knn_predictions(bank, labels, rows, ks=KS).items()}
    similarity, _ = nearest_neighbours(bank, rows[:64], max(KS))
    peaks = among.gather(peak_memory_mb())
    if among.is_main:
        # The first rows of the second process are others than those of one process: the first ones are compared.
        found["similarity"] = similarity
        save_file(found, arguments.work / f"found-{among.count}")
        (arguments.work / f"memory-{among.count}").write_text(json.dumps(peaks))
    return {"rank": among.rank}


def approximate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Features in heaps, as those of images lie: random ones have no neighbours to speak of."""
    centres = random_features(2000, arguments.width, torch.float32, 3)

    def heaps(rows: int, seed: int) -> Tensor:
        x = random_features(rows, arguments.width, torch.float16, seed)
        at = torch.randint(0, len(centres), (rows,), generator=torch.Generator().manual_seed(seed))
        for block, which in zip(x.split(16384), at.split(16384), strict=True):
            block.copy_(centres[which] + 0.7 * block.float())
        return x

    bank, queries = heaps(arguments.bank, 4), heaps(arguments.queries, 5)
    began = time.perf_counter()
    nearest_neighbours(bank, queries, max(KS))
    exact = time.perf_counter() - began
    began = time.perf_counter()
    _, _, about = approximate_neighbours(bank, queries, max(KS))
    return {
        "bank": list(bank.shape),
        "queries": arguments.queries,
        "seconds_exact": round(exact, 1),
        "seconds_with_the_index_made": round(time.perf_counter() - began, 1),
        **about.as_dict(),
        "peak_mb": peak_memory_mb(),
    }


WHAT = {"time": timed, "memory": memory, "processes": divided, "approximate": approximate, "part": part}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(WHAT))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--bank", type=int, default=1_281_167, help="features in the bank of the last two")
    parser.add_argument("--width", type=int, default=64, help="their dimensions")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.in_process:
        environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
        words = [sys.executable, __file__, *sys.argv[1:], "--in-process"]
        sys.exit(subprocess.run(words, env=environment, check=False).returncode)
    torch.set_num_threads(arguments.threads)
    row = {"what": arguments.what, **WHAT[arguments.what](arguments)}
    if arguments.what == "part":
        return
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
