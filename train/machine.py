"""The machine a run is on: its cores, its name, its versions."""

import os

import numpy as np
import torch

import lowzoo


def default_workers(device: torch.device) -> int:
    """Data workers: every core beside an accelerator, half of them beside a processor that also trains."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if device.type == "cuda" else max(1, cores // 2)


def device_name(device: torch.device) -> str:
    """The device for people: the accelerator's name, or "cpu" with its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    import timm

    return {"lowzoo": lowzoo.__version__, "torch": torch.__version__, "timm": timm.__version__, "numpy": np.__version__}
