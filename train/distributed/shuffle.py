"""MoCo's shuffle of images among processes (He et al., arXiv 1911.05722, section 3.3)."""

from collections.abc import Callable

import torch
from torch import Tensor

from lowzoo.train.distributed.collectives import all_gather_rows, rank, world_size


@torch.no_grad()
def shuffle_batch(images_B3SS: Tensor, seed: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Exchange images among processes, so that batch norms of the key branch mix other images than the queries'.

    Args:
        images_B3SS: This process's images.
        seed: Random seed of the permutation, alike in every process.

    Returns:
        As many images, and a function that puts the rows made from them back into this process's order.
    """
    if world_size() == 1:
        return images_B3SS, lambda rows: rows
    everything = all_gather_rows(images_B3SS)
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(seed)).to(everything.device)
    mine = slice(rank() * len(images_B3SS), (rank() + 1) * len(images_B3SS))

    def restore(rows: Tensor) -> Tensor:
        return all_gather_rows(rows)[order.argsort()[mine]]

    return everything[order[mine]], restore
