"""What an objective may ask of the processes that share its batch: handed in, as no loss talks to a process itself."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


def _same(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class Peers:
    """The processes of a run, as one of them sees them; by default it is alone.

    Args:
        rank: Number of this process.
        count: Number of processes P.
        total: Sum of a tensor over all processes.
        largest: Largest values of a tensor over all processes.
        rows: Rows (N, ...) of all processes, those of process 0 first: (P N, ...).
    """

    rank: int = 0
    count: int = 1
    total: Callable[[Tensor], Tensor] = _same
    largest: Callable[[Tensor], Tensor] = _same
    rows: Callable[[Tensor], Tensor] = _same

    def mean(self, x: Tensor) -> Tensor:
        """Mean of a tensor over all processes."""
        return self.total(x) / self.count


ALONE = Peers()
