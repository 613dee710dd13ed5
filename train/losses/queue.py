"""A first-in first-out queue of unit keys, alike in every process (MoCo, arXiv 1911.05722, section 3.2)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lowzoo.base.errors import LowzooError


class KeyQueue(nn.Module):
    """`length` unit keys, random at first.

    Args:
        dim: Width of a key.
        length: Number of keys K.
    """

    keys: Tensor
    pointer: Tensor

    def __init__(self, dim: int, length: int) -> None:
        super().__init__()
        self.register_buffer("keys", normalize(torch.randn(length, dim), dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Replace the oldest keys.

        Args:
            keys: Keys (N, D) of a whole step, of all processes.

        Raises:
            LowzooError: The length is no multiple of the batch.
        """
        if len(self.keys) % len(keys):
            raise LowzooError(
                f"a queue of {len(self.keys)} cannot be divided by the batch of {len(keys)}",
                f"Use --set queue={max(1, len(self.keys) // len(keys)) * len(keys)}",
            )
        # Modulo, as the batch may be another one than that which left the pointer here.
        places = (self.pointer + torch.arange(len(keys), device=self.pointer.device)) % len(self.keys)
        self.keys[places] = keys.to(self.keys)
        self.pointer.copy_((self.pointer + len(keys)) % len(self.keys))
