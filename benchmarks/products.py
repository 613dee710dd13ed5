"""Products of fp32 matrices by torch's own choice (MKL) and by oneDNN, as `onednn=true` has them, in one run.

    python benchmarks/products.py [--threads 1] [--out FILE]

The shapes are those of a student's and a teacher's linear layers: rows are tokens or views. The error is the largest
one against the product in fp64, over the largest value of that.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

from lowzoo.bench.host.machine import this_device
from lowzoo.system.machine import versions
from lowzoo.train.kernels.onednn import check_onednn, onednn_matmuls

# Rows, inputs, outputs.
SHAPES = {
    "ViT-Tiny, MLP": (16 * 197, 192, 768),
    "ViT-B, MLP": (4 * 197, 768, 3072),
    "DINO head": (128, 2048, 2048),
    "DINO head, 65,536 prototypes": (128, 256, 65_536),
}


def seconds(product: Callable[[], Tensor], repeats: int = 15) -> float:
    """Median time of one product."""
    product()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        product()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    """Measure every shape, print a line each, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "products.json")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    check_onednn(torch.device("cpu"))
    torch.manual_seed(0)
    rows = {}
    for name, (count, inputs, outputs) in SHAPES.items():
        left, right = torch.randn(count, inputs), torch.randn(outputs, inputs)
        exact = left.double() @ right.double().t()
        row = {}
        for way, block in (("torch", nullcontext), ("oneDNN", onednn_matmuls)):
            with block():
                error = ((left @ right.t()).double() - exact).abs().max() / exact.abs().max()
                speed = 2 * count * inputs * outputs / seconds(lambda left=left, right=right: left @ right.t()) / 1e9
            row[way] = {"gflops": round(speed, 1), "error": float(f"{error:.2g}")}
        ratio = row["oneDNN"]["gflops"] / row["torch"]["gflops"]
        rows[name] = {"shape": [count, inputs, outputs], **row, "ratio": round(ratio, 2)}
        print(f"{name:30} {row['torch']['gflops']:7.1f} -> {row['oneDNN']['gflops']:7.1f} GFLOP/s, {ratio:.2f} times")
    facts = {"processor": this_device().cpu, "threads": words.threads, "versions": versions()}
    words.out.write_text(json.dumps({"products": rows, **facts}, indent=2) + "\n")


if __name__ == "__main__":
    main()
