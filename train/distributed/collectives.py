"""What processes send each other, without gradients; with one process everything is the identity."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lowzoo.system.processes import exchange, joined
from lowzoo.train.losses.peers import Peers


def world_size() -> int:
    """Number of processes of the run."""
    return joined().count


def rank() -> int:
    """This process's number among them."""
    return joined().rank


@torch.no_grad()
def all_reduce_sum(x: Tensor) -> Tensor:
    """The sum over all processes; a new tensor."""
    if world_size() == 1:
        return x
    total = x.detach().clone()
    exchange(lambda: dist.all_reduce(total))
    return total


@torch.no_grad()
def all_reduce_max(x: Tensor) -> Tensor:
    """The largest value over all processes; a new tensor."""
    if world_size() == 1:
        return x
    largest = x.detach().clone()
    exchange(lambda: dist.all_reduce(largest, op=dist.ReduceOp.MAX))
    return largest


def any_of(number: int) -> int:
    """The largest number that a process has; on the host, so that no GPU has to pause."""
    return int(all_reduce_max(torch.tensor(number)))


def all_gather_values(value: Any) -> list[Any]:
    """The plain values of all processes, that of process 0 first."""
    return joined().gather(value)


@torch.no_grad()
def all_gather_rows(x: Tensor) -> Tensor:
    """The rows (N, ...) of all processes, those of process 0 first: (world size * N, ...)."""
    if world_size() == 1:
        return x
    # Images may be laid out channels last; what is sent and what is received have to be laid out alike.
    x = x.detach().contiguous()
    parts = [torch.empty_like(x) for _ in range(world_size())]
    exchange(lambda: dist.all_gather(parts, x))
    return torch.cat(parts)


def peers() -> Peers:
    """The processes of this run, for an objective; ask after the run has joined them."""
    return Peers(rank(), world_size(), all_reduce_sum, all_reduce_max, all_gather_rows)
