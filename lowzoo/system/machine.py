"""The machine a run is on: its cores, its name, its versions."""

import ctypes
import platform
from importlib.metadata import version

import numpy as np
import torch

from lowzoo.system.cores import usable_cores

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def default_workers(device: torch.device) -> int:
    """Data workers: every core beside a GPU, half of them beside a CPU that also trains."""
    cores = usable_cores()
    return cores if device.type == "cuda" else max(1, cores // 2)


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, where the C library is glibc; elsewhere nothing happens.

    glibc gives blocks of many megabytes back to the system at once. Every large activation of a step on the CPU
    is then mapped, cleared by the system and faulted in page by page again, and so is every large image in a data
    worker. All threads share one heap, as those of further threads are small and given back nevertheless. The price:
    the process stays as large as it ever was, also after the run, a worker as its largest image.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)
        libc.mallopt(_M_ARENA_MAX, 1)


def device_name(device: torch.device) -> str:
    """The device for people: the GPU's name, or "cpu" with its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    import timm

    return {"lowzoo": version("lowzoo"), "torch": torch.__version__, "timm": timm.__version__, "numpy": np.__version__}
