"""A student's step, forward and backward, in fp32 and in bf16 on this CPU; ratios of one run.

    python benchmarks/bf16_on_cpus.py [--size 64] [--batch 64] [--threads 1] [--out FILE]

For ViTs both with torch's fused attention and by matmuls, as runs in bf16 have it. The least CPU time of six
steps, which other work on the machine changes less than the clock.
"""

import argparse
import json
import time
from pathlib import Path

import timm
import torch
from torch import nn

from lowzoo.bench.host.machine import this_device
from lowzoo.system.device import cpu_multiplies_bf16
from lowzoo.system.machine import versions
from lowzoo.train.kernels.attention import attend_by_matmuls

NETWORKS = ("vit_tiny_patch16_224", "resnet18", "mobilenetv2_100", "mobilenetv3_large_100", "efficientnet_b0")


def seconds(network: nn.Module, images: torch.Tensor, bf16: bool, repeats: int = 6) -> float:
    """The least time of a step."""
    times = []
    for _ in range(2 + repeats):
        began = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            features = network(images)
        features.float().square().sum().backward()
        times.append(time.process_time() - began)
    return min(times[2:])


def main() -> None:
    """Measure every network, print a line each, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "bf16_on_cpus.json")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    images = torch.randn(words.batch, 3, words.size, words.size).contiguous(memory_format=torch.channels_last)
    rows = {}
    for name in NETWORKS:
        sized = {"img_size": words.size} if name.startswith("vit_") else {}
        network = timm.create_model(name, num_classes=0, **sized).train().to(memory_format=torch.channels_last)
        row = {"fp32": seconds(network, images, bf16=False), "bf16": seconds(network, images, bf16=True)}
        if sized:
            attend_by_matmuls(network)
            row["fp32, attention by matmuls"] = seconds(network, images, bf16=False)
            row["bf16, attention by matmuls"] = seconds(network, images, bf16=True)
        rows[name] = {way: round(value / row["fp32"], 3) for way, value in row.items()}
        print(name, rows[name], flush=True)
    document = {
        "what": "time of a step, of that in fp32",
        "size": words.size,
        "batch": words.batch,
        "threads": words.threads,
        "amx": cpu_multiplies_bf16(),
        "machine": this_device().cpu,
        "versions": versions(),
        "rows": rows,
    }
    words.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
