"""Whether data workers can hand over their batches in shared memory, and how they do it where they cannot.

torch's workers put tensors into /dev/shm, by either of its strategies. Docker gives a container 64 MB of it: a few
batches of views. What goes beyond ends the run by a bus error in the middle of a step. So what the batches under way
take is compared with what is free before workers start; where it is too little, batches go through the workers' pipes
instead, which costs a copy and no worker.
"""

import multiprocessing
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lowzoo.base.errors import reason_of
from lowzoo.system.processes import local_processes

_PLACE = Path("/dev/shm")
# Batches that each worker works ahead; besides, one is in the making and one or two are in use.
PREFETCH = 4
_BESIDE = 2
# Other processes take some, too.
_RESERVE = 8 << 20


class ThroughPipe:
    """A batch on its way to another process: it arrives as itself, its tensors as plain bytes instead of shared memory.

    Args:
        batch: A dataclass with slots, whose tensors stand in its fields or in lists there.
    """

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        fields = {name: _to_array(getattr(self.batch, name)) for name in self.batch.__slots__}
        return _arrived, (type(self.batch), fields)


def plan_workers(bytes_of_batch: int, workers: int, say: Callable[[str], None] | None = None) -> tuple[int, bool]:
    """How many workers can work, and whether their batches have to go through pipes; a line says what is not as wished.

    Args:
        bytes_of_batch: Bytes of all tensors of one batch.
        workers: That are wished for in this process. The other processes of a run on this machine have as many.
        say: Receives the line; stderr if absent.
    """
    say = say or _to_stderr
    if not workers:
        return 0, False
    try:
        # As many as the workers' queues will hold; they are gone again at once.
        for _ in [multiprocessing.Lock() for _ in range(8 * (workers + 1))]:
            pass
    except OSError as error:
        # Locks lie there, too; without them there are no processes that work together.
        say(f"{_PLACE} cannot be used ({reason_of(error)}), so images are read without data workers, which is slow")
        return 0, False
    if not _PLACE.is_dir():
        return workers, False
    needed = bytes_of_batch * (workers * (PREFETCH + 1) + _BESIDE) * local_processes() + _RESERVE
    free = shutil.disk_usage(_PLACE).free
    if needed <= free:
        return workers, False
    say(
        f"{_PLACE} has {free / 1e6:.0f} MB free and data workers need {needed / 1e6:.0f} MB: batches go through pipes, "
        f"which is slower. Enlarge it (docker run --shm-size={-(-needed // 10**9)}g) or use fewer workers"
    )
    return workers, True


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _to_array(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.numpy()
    return [_to_array(item) for item in value] if isinstance(value, list) else value


def _to_tensor(value: Any) -> Any:
    if type(value).__module__ == "numpy":
        return torch.from_numpy(value)
    return [_to_tensor(item) for item in value] if isinstance(value, list) else value


def _arrived(kind: Callable[..., Any], fields: dict[str, Any]) -> Any:
    return kind(**{name: _to_tensor(value) for name, value in fields.items()})
