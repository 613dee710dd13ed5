"""Memory that a data worker writes pixels to and the training process reads, used again and again.

Every page of fresh shared memory is cleared by the system and faulted in by its writer, which for small photographs is
a good part of a worker's time. Blocks that were given back are spared both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

Shape = tuple[int, ...]


@dataclass(slots=True)
class Lease:
    """A block that is taken.

    Args:
        taken: uint8 in shared memory: 1 where the worker's block of that number is in use.
        block: Number of this one.
        held: False once it is given back.
    """

    taken: Tensor
    block: int
    held: bool = True

    def release(self) -> None:
        """Give the block back to its worker, which may overwrite it from now on; the second time nothing happens."""
        if self.held:
            self.held = False
            self.taken[self.block] = 0


class SharedPixels:
    """The blocks of one worker, each for the pixels of a batch. A process that is no worker gets memory of its own.

    Args:
        most: Blocks that are kept, more than a loader ever has under way; what is beyond is fresh memory.
        shared: False gives a worker memory of its own, too.
    """

    def __init__(self, most: int = 64, *, shared: bool = True) -> None:
        self._most, self._shared = most, shared
        self._taken: Tensor | None = None
        self._blocks: list[list[Tensor]] = []

    def take(self, shapes: Sequence[Shape]) -> tuple[list[Tensor], Lease | None]:
        """A uint8 tensor for each shape, and what gives them back; None where nobody has to."""
        if not self._shared or get_worker_info() is None:
            return [torch.empty(shape, dtype=torch.uint8) for shape in shapes], None
        if self._taken is None:
            self._taken = _shared((self._most,)).zero_()
        wanted = [torch.Size(shape) for shape in shapes]
        for number, block in enumerate(self._blocks):
            if not self._taken[number] and [tensor.shape for tensor in block] == wanted:
                break
        else:
            number, block = len(self._blocks), [_shared(shape) for shape in shapes]
            if number == self._most:
                return block, None
            self._blocks.append(block)
        self._taken[number] = 1
        return list(block), Lease(self._taken, number)


def _shared(shape: Shape) -> Tensor:
    """Memory for uint8 values that is shared with whom the tensor is sent to, as torch's collation does it."""
    storage = torch.UntypedStorage._new_shared(math.prod(shape))
    return torch.empty(0, dtype=torch.uint8).set_(storage).view(shape)
