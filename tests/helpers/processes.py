"""Several gloo processes on this machine, for tests of what processes tell each other."""

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_processes(function: Callable[..., Any], world_size: int, *arguments: Any) -> list[Any]:
    """Call `function(rank, *arguments)` in `world_size` processes of one group; what they return, by rank.

    Args:
        function: A function of a module's top level, so that a fresh process finds it.
        world_size: Number of processes.
        arguments: Tensors, numbers and containers of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        torch.save(arguments, Path(folder) / "arguments.pt")
        mp.spawn(_work, (function, world_size, folder), nprocs=world_size)
        return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(world_size)]


def _work(rank: int, function: Callable[..., Any], world_size: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=120),
    )
    try:
        result = function(rank, *torch.load(Path(folder) / "arguments.pt"))
        torch.save(result, Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()
