"""Sinkhorn-Knopp: scores become codes that use every prototype alike (SwAV, arXiv 2006.09882, section 3).

Q = exp(scores / epsilon);  repeat: columns (prototypes) to equal mass, rows (images) to mass 1
"""

import torch
from torch import Tensor

from lowzoo.train.collectives import all_reduce_max, all_reduce_sum, world_size


@torch.no_grad()
def sinkhorn(scores_NK: Tensor, *, epsilon: float, iterations: int = 3) -> Tensor:
    """Codes (N, K), each row a distribution, over the rows of all processes together.

    Args:
        scores_NK: Of this process's images; every process brings as many.
        epsilon: Sharpness; smaller is sharper.
        iterations: Rounds of normalisation; with 0 each row is a softmax at epsilon.
    """
    if not iterations:
        return torch.softmax(scores_NK / epsilon, dim=1)
    scaled = scores_NK / epsilon
    # Subtracting the largest score of all processes changes nothing but keeps the exponentials in range.
    mass = torch.exp(scaled - all_reduce_max(scaled.max()))
    rows, prototypes = len(mass) * world_size(), mass.shape[1]
    mass = mass / all_reduce_sum(mass.sum())
    for _ in range(iterations):
        mass = mass / (all_reduce_sum(mass.sum(0)) * prototypes)
        mass = mass / (mass.sum(1, keepdim=True) * rows)
    return mass * rows
