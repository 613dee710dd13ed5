"""Attention by plain matmuls, for training on a CPU where torch's fused kernel is slow."""

from torch import nn


def attend_by_matmuls(module: nn.Module) -> None:
    """Let attention of timm's kind use plain matmuls.

    They keep (B, heads, N, N) numbers a layer for the backward pass, which the fused kernel makes anew.

    - By oneDNN in fp32: the fused kernel has matmuls of its own, by MKL.
    - In bf16: the fused kernel's backward pass takes nine times as long as in fp32 for the 17 tokens of an image of
      64 px and 1.9 times for 197, by matmuls the same and 0.5 times (torch 2.15 on a CPU with AMX,
      `benchmarks/bf16_on_cpus.py`).
    """
    for layer in module.modules():
        if hasattr(layer, "fused_attn"):
            layer.fused_attn = False  # type: ignore[assignment]
