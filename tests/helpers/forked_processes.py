"""Processes that start in milliseconds: forked from a server that has imported torch, timm and the trainer once."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from lowzoo.train.distributed import processes as distributed

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.helpers.train"])


def start_processes(count: int, work: Callable[..., Any], *arguments: Any) -> list[BaseProcess]:
    """Start `work(*arguments)` in `count` processes of one gloo group, each with one thread; a single one has none."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes: list[BaseProcess] = []
    for rank in range(count):
        process = _CONTEXT.Process(target=_child, args=(rank, count, port, work, arguments), daemon=True)
        process.start()
        processes.append(process)
    return processes


def run_to_the_end(count: int, work: Callable[..., Any], *arguments: Any) -> None:
    """As `start_processes`, and wait; a process that fails fails the test."""
    processes = start_processes(count, work, *arguments)
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0] * count


def _child(rank: int, count: int, port: int, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    if count > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        distributed.join(torch.device("cpu"))
    try:
        work(*arguments)
    finally:
        distributed.leave()
