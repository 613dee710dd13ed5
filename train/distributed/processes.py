"""Several processes, one run: where this process stands, and how the others are started.

A process started by `torchrun` finds its place in the environment (`lowzoo.system.processes`); `--devices N` starts N
processes on this machine itself. Without either there is one process and nothing here does anything.
"""

import contextlib
import inspect
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lowzoo.base.errors import LowzooError, ToldElsewhere
from lowzoo.base.printable import forgiving_streams
from lowzoo.system.processes import (
    barrier,
    is_main,
    join,
    leave,
    local_rank,
    own_device,
    started_together,
    under_torchrun,
)
from lowzoo.system.signals import Stopped, StopRequest, sigterm_as_exception
from lowzoo.train.distributed.child_processes import script_hidden

__all__ = [
    "barrier",
    "is_main",
    "join",
    "leave",
    "local_rank",
    "own_device",
    "spawn",
    "started_together",
    "under_torchrun",
    "wrap_ddp",
]

# Seconds that the other processes have to end by themselves once one has ended.
_GRACE = 5.0
# Errors that say what the user can mend. A process that was given another one's error may end before that one does.
_SAID = (LowzooError.__name__, ToldElsewhere.__name__)


def spawn(
    processes: int,
    work: Callable[[], Any],
    device: str,
    *,
    script: bool = True,
    started: Callable[[], object] = lambda: None,
) -> None:
    """Run `work` in `processes` processes on this machine; returns when all have ended.

    Args:
        processes: Their number.
        work: Picklable; runs once in each, with torchrun's environment.
        device: As configured; with GPUs there must be one a process.
        script: Whether they need the script that runs, see `lowzoo.train.distributed.child_processes`.
        started: Called once they have been started.

    Raises:
        LowzooError: Too few GPUs, or a process ended with an error.
        Stopped: A signal asked for the end; it is passed on, and the processes leave together.
    """
    if device in ("auto", "cuda") and torch.cuda.is_available() and torch.cuda.device_count() < processes:
        raise LowzooError(
            f"{processes} devices were asked for, and this machine has {torch.cuda.device_count()}",
            f"Use --devices {torch.cuda.device_count()}, or --set device=cpu",
        )
    from torch.multiprocessing.spawn import ProcessException, start_processes

    children: list[int] = []

    def pass_on(number: int) -> None:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    try:
        with StopRequest(pass_on).listening() as asked:
            with script_hidden(not script):
                context = start_processes(_child, (processes, _free_port(), work), nprocs=processes, join=False)
            started()
            children += context.pids()
            if asked.number:
                pass_on(asked.number)
            while not context.join(grace_period=_GRACE):
                pass
    except ProcessException as error:
        ended_by = (getattr(error, "exit_code", 0) or 0) - 128
        if asked.number or ended_by in (signal.SIGTERM, signal.SIGINT):
            raise Stopped(asked.number or ended_by, told=ended_by > 0) from None
        last = str(error).strip().splitlines()[-1]
        name, _, message = last.partition(": ")
        if name.rpartition(".")[2] in _SAID:
            text, _, remedy = message.partition(". ")
            raise LowzooError(text, remedy) from None
        raise LowzooError(f"process {error.error_index} of the run ended: {last}", "Go on with --resume") from error


def _child(rank: int, processes: int, port: int, work: Callable[[], Any]) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(processes),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    if not torch.cuda.is_available():
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    forgiving_streams()
    try:
        with sigterm_as_exception():
            work()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Stopped as stopped:
        if not stopped.told:
            print(f"lowzoo: {stopped.message}", file=sys.stderr, flush=True)
        sys.exit(stopped.status)
    finally:
        leave()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wrap_ddp(module: nn.Module, device: torch.device) -> nn.Module:
    """DistributedDataParallel, with buffers left to each process."""
    ids = [device.index or 0] if device.type == "cuda" else None
    parallel = nn.parallel.DistributedDataParallel
    # From torch 2.15 on the argument has another name.
    renamed = "forward_sync_buffers" in inspect.signature(parallel).parameters
    buffers: dict[str, Any] = {"forward_sync_buffers" if renamed else "broadcast_buffers": False}
    return parallel(module, device_ids=ids, gradient_as_bucket_view=True, **buffers)
