"""Several processes, one piece of work: where this process stands among them, and what they send each other.

A process that `torchrun` (or a scheduler in its manner) started finds its place in the environment. `join` brings it
together with the others; from there on `Processes` divides work and gathers what was made of it, on the host, so that
no GPU has to wait. Alone, everything is the identity.

A process that fails ends the others: an error in a part of divided work is raised in all of them, and where a process
dies, those that wait for it see that its connection is gone.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from lowzoo.base.errors import LowzooError, ToldElsewhere, reason_of

T = TypeVar("T")

# Rows of (N, D) features that are sent at a time: at 768 dimensions 100 MB.
_ROWS = 32_768
# How long processes wait for the last of them to start, and afterwards for one that works while they have nothing to
# do: as long as that takes. A process that ends closes its connections, which the others see at once.
_START, _WORK = timedelta(minutes=10), timedelta(days=30)
_TIMED_OUT = re.compile(r"timed? ?out", re.I)
# What `torchrun` sets so that processes find each other.
_MEETING = ("MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that share a piece of work; each of them has to make the same calls in the same order.

    Args:
        rank: Its number, from 0.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes for all."""
        return self.rank == 0

    @property
    def writes(self) -> bool:
        """Whether this process writes what the others on its machine then read."""
        return self.is_main or (self.count > 1 and local_rank() == 0)

    def part(self, things: int) -> range:
        """This process's part of so many things: neighbours in their order, as many as the others have, or one more."""
        return range(things * self.rank // self.count, things * (self.rank + 1) // self.count)

    def gather(self, value: T) -> list[T]:
        """Plain values of all processes, by rank."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        exchange(lambda: dist.all_gather_object(values, value))
        return values

    def of_main(self, value: T) -> T:
        """The plain value of process 0."""
        return self.gather(value)[0]

    def attempt(self, work: Callable[[], T]) -> T:
        """What `work` gives here, unless it fails anywhere.

        Raises:
            LowzooError: The error of the first process that failed; a `ToldElsewhere` with its words in all others.
        """
        if self.count == 1:
            return work()
        error: LowzooError | None = None
        try:
            made = work()
        except LowzooError as failure:
            error = failure
        failures = self.gather(None if error is None else (error.message, error.remedy))
        first = next((rank for rank, words in enumerate(failures) if words is not None), None)
        if first is None:
            return made
        if first == self.rank and error is not None:
            raise error
        raise ToldElsewhere(*(failures[first] or ())) from error

    def require_same(self, facts: Mapping[str, Any]) -> None:
        """Refuse to go on where processes were given different things.

        Args:
            facts: What has to be the same, by its name in the plural: plain values, compared and shown as text.

        Raises:
            LowzooError: Something differs; in all processes, and printed by process 0.
        """
        if self.count == 1:
            return
        everywhere = self.gather({name: str(value) for name, value in facts.items()})
        differing = [
            f"{name} ({', '.join(dict.fromkeys(found[name] for found in everywhere))})"
            for name in facts
            if any(found[name] != everywhere[0][name] for found in everywhere)
        ]
        if differing:
            error = LowzooError if self.is_main else ToldElsewhere
            raise error(
                f"the {self.count} processes have different {' and '.join(differing)}",
                "See that all of them read the same files and were given the same options",
            )

    def collect(self, work: Callable[[], T]) -> list[T]:
        """What `work` gives in each process, by rank: plain values, which are sent to all; else as `attempt`."""
        return self.gather(self.attempt(work))

    def blocks(self, mine: Tensor, rows: int = _ROWS) -> Iterator[Tensor]:
        """Rows (N, ...) of all processes, those of process 0 first, in blocks that bound memory.

        Args:
            mine: (N, ...) on the CPU, of one type and width in all processes; may be mapped from a file.
            rows: Rows of a block.
        """
        if self.count == 1:
            yield from mine.split(rows)
            return
        for source, (length, shape) in enumerate(self.gather((len(mine), mine.shape[1:]))):
            for start in range(0, length, rows):
                size = min(rows, length - start)
                block = mine[start : start + size].contiguous() if source == self.rank else mine.new_empty(size, *shape)
                # What is mapped for reading alone cannot be handed to a collective operation.
                block = block.clone() if source == self.rank else block
                exchange(partial(dist.broadcast, block, source))
                yield block

    def gather_rows(self, mine: Tensor) -> Tensor:
        """Rows (N, ...) of all processes, those of process 0 first, as one tensor on the CPU."""
        blocks = [mine] if self.count == 1 else list(self.blocks(mine))
        return torch.cat(blocks) if blocks else mine

    def wait(self) -> None:
        """Wait for the others."""
        if self.count > 1:
            exchange(dist.barrier)


ALONE = Processes()


def under_torchrun() -> bool:
    """Whether this process is one of several that `torchrun` (or a scheduler in its manner) started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def started_together() -> int:
    """How many processes this program has, joined or not; 1 for one that was started alone."""
    if dist.is_initialized():
        return dist.get_world_size()
    return int(os.environ["WORLD_SIZE"]) if under_torchrun() else 1


def started_first() -> bool:
    """Whether this process was started alone or as the first of several, joined or not."""
    if dist.is_initialized():
        return dist.get_rank() == 0
    return not under_torchrun() or os.environ["RANK"] == "0"


def local_processes() -> int:
    """Number of processes of this run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", "1")))


def local_rank() -> int:
    """This process's number on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def own_device(device: torch.device) -> torch.device:
    """This process's GPU, where `device` names none of several; of processes that were not joined, too."""
    if device.type != "cuda" or device.index is not None:
        return device
    # A scheduler may show each process one GPU alone, whatever its number on the machine.
    alone = under_torchrun() and local_rank() < torch.cuda.device_count()
    return torch.device("cuda", local_rank()) if dist.is_initialized() or alone else device


def is_main() -> bool:
    """Whether this process prints and writes for all."""
    return joined().is_main


def join(device: torch.device) -> bool:
    """Join the other processes, where there are any; returns whether there are.

    Raises:
        LowzooError: They cannot be found, or somebody else joined them in a way that serves no CPU.
    """
    if dist.is_initialized():
        _require_cpu_backend()
        return True
    if not under_torchrun():
        return False
    if missing := [name for name in _MEETING if name not in os.environ]:
        raise LowzooError(
            f"WORLD_SIZE says that {os.environ['WORLD_SIZE']} processes were started, and without "
            f"{' and '.join(missing)} they cannot find each other",
            "Start them with torchrun, or unset WORLD_SIZE to run in one process",
        )
    if device.type == "cuda":
        torch.cuda.set_device(local_rank())
    # What processes send each other on the host goes by gloo, so that it waits for no GPU.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        store, rank, count = next(rendezvous("env://", timeout=_START))
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=_WORK)
    except (RuntimeError, ValueError) as error:
        raise LowzooError(
            f"the {os.environ['WORLD_SIZE']} processes of this command cannot be joined ({reason_of(error)})",
            "Start all of them, for example with `torchrun --nproc-per-node N --no-python lowzoo ...`",
        ) from error
    return True


_alone: ContextVar[bool] = ContextVar("alone", default=False)


def joined() -> Processes:
    """The processes that this one has joined; itself alone before that, and inside `working`'s block without them."""
    if _alone.get() or not dist.is_initialized():
        return ALONE
    return Processes(dist.get_rank(), dist.get_world_size())


@contextlib.contextmanager
def working(device: torch.device, divide: bool) -> Iterator[Processes]:
    """Those that share the work of the block: all that were started, or this process alone, whomever it has joined.

    A process group that was made elsewhere, as by a user's own script, is there afterwards, too.

    Args:
        device: Where this process computes.
        divide: Whether they share it; all of them have to come here then.

    Raises:
        LowzooError: See `join`.
    """
    if not divide:
        mark = _alone.set(True)
        try:
            yield ALONE
        finally:
            _alone.reset(mark)
        return
    made_elsewhere = dist.is_initialized()
    join(device)
    try:
        yield joined()
    finally:
        if not made_elsewhere:
            leave()


def _require_cpu_backend() -> None:
    """Refuse a group that was made elsewhere, as by a user's own script, and cannot send what lies on the CPU."""
    backends = dist.get_backend_config()
    if "cpu:" not in backends:
        raise LowzooError(
            f"the process group of this program has no CPU backend ({backends})",
            'Make it by init_process_group("cpu:gloo,cuda:nccl")',
        )


def leave() -> None:
    """Part from the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def barrier() -> None:
    """Wait for the other processes."""
    joined().wait()


def exchange(operation: Callable[[], object]) -> None:
    """Exchange something with the others.

    Raises:
        LowzooError: One of them is gone, or took longer than the process group allows.
    """
    try:
        operation()
    except RuntimeError as error:  # as are those of torch.distributed
        reason = reason_of(error)
        # The group of `join` allows for days, one that was made elsewhere half an hour.
        if _TIMED_OUT.search(str(error)):
            raise LowzooError(
                f"another process took longer than the timeout of the process group allows ({reason})",
                "Make the process group with a longer timeout",
            ) from error
        raise LowzooError(
            f"another process of this command has ended, or cannot be reached ({reason})",
            "See what it printed, mend that and start all of them again",
        ) from error
