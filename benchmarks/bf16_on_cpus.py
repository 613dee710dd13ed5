"""A student's step, forward and backward, in fp32 and in bf16 on this CPU; ratios of one run.

    python benchmarks/bf16_on_cpus.py [--size 64] [--batch 64] [--threads 1] [--out FILE]

For ViTs both with torch's fused attention and by matmuls, as runs in bf16 have it; then attention alone, its backward
pass. CPU time, which other work on the machine changes less than the clock: the least of six and the largest of them,
as fractions of the least in fp32.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, softmax

from lowzoo.bench.host.machine import this_device
from lowzoo.system.device import cpu_multiplies_bf16
from lowzoo.system.machine import versions
from lowzoo.train.kernels.attention import attend_by_matmuls

NETWORKS = ("vit_tiny_patch16_224", "resnet18", "mobilenetv2_100", "mobilenetv3_large_100", "efficientnet_b0")
# Images, tokens of each; three heads of 64 as ViT-Tiny has them.
ATTENTION = ((64, 17), (8, 197), (1, 1024), (1, 4096))


def step_seconds(network: nn.Module, images: Tensor, bf16: bool, repeats: int = 6) -> list[float]:
    """Times of steps."""
    times = []
    for _ in range(2 + repeats):
        began = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            features = network(images)
        features.float().square().sum().backward()
        times.append(time.process_time() - began)
    return times[2:]


def by_matmuls(q_BHND: Tensor, k_BHND: Tensor, v_BHND: Tensor) -> Tensor:
    """Attention of timm's kind without the fused kernel."""
    return softmax(q_BHND * q_BHND.shape[-1] ** -0.5 @ k_BHND.transpose(-2, -1), dim=-1) @ v_BHND


def backward_seconds(attend: Callable[..., Tensor], images: int, tokens: int, dtype: torch.dtype) -> list[float]:
    """Times of backward passes of attention."""
    times = []
    for _ in range(8):
        # As a ViT's layer makes them: (B, 3, H, N, D) of (B, N, 3, H, D).
        qkv = torch.randn(images, tokens, 3, 3, 64, dtype=dtype, requires_grad=True)
        attended = attend(*qkv.permute(2, 0, 3, 1, 4).unbind(0))
        began = time.process_time()
        attended.float().sum().backward()
        times.append(time.process_time() - began)
    return times[2:]


def fractions(rows: dict[str, list[float]]) -> dict[str, list[float]]:
    """Least and largest, as fractions of the least in fp32."""
    least = min(rows["fp32"])
    return {way: [round(min(times) / least, 3), round(max(times) / least, 3)] for way, times in rows.items()}


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
        row = {"fp32": step_seconds(network, images, bf16=False), "bf16": step_seconds(network, images, bf16=True)}
        if sized:
            attend_by_matmuls(network)
            row["fp32, attention by matmuls"] = step_seconds(network, images, bf16=False)
            row["bf16, attention by matmuls"] = step_seconds(network, images, bf16=True)
        rows[name] = fractions(row)
        print(name, rows[name], flush=True)
    attention = {}
    for count, tokens in ATTENTION:
        ways = {
            f"{word}{way}": backward_seconds(attend, count, tokens, dtype)
            for word, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
            for way, attend in (("", scaled_dot_product_attention), (", by matmuls", by_matmuls))
        }
        attention[f"{count} x {tokens} tokens"] = fractions(ways)
        print(f"{count} x {tokens} tokens", attention[f"{count} x {tokens} tokens"], flush=True)
    document = {
        "what": "least and largest time of six, as fractions of the least in fp32",
        "size": words.size,
        "batch": words.batch,
        "threads": words.threads,
        "amx": cpu_multiplies_bf16(),
        "machine": this_device().cpu,
        "versions": versions(),
        "steps": rows,
        "backward passes of attention": attention,
    }
    words.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
