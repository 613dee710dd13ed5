"""Sinkhorn-Knopp: scores become codes that use every prototype alike (SwAV, arXiv 2006.09882, section 3).

Q = exp(scores / epsilon);  repeat: columns (prototypes) to equal mass, rows (images) to mass 1
"""

import torch
from torch import Tensor

from lowzoo.train.losses.peers import ALONE, Peers


@torch.no_grad()
def sinkhorn(scores_NK: Tensor, *, epsilon: float, iterations: int = 3, peers: Peers = ALONE) -> Tensor:
    """Codes (N, K), each row a distribution, over the rows of all processes together.

    Logarithms are normalised instead of Q itself: exp(scores / epsilon) leaves the range of fp32 where scores spread by
    more than 2.6 at epsilon 0.03, as unbounded logits do, and an empty row or column would turn into NaN.

    Args:
        scores_NK: Scores of this process's images.
        epsilon: Sharpness; smaller is sharper.
        iterations: Rounds of normalisation; with 0 each row is a softmax at epsilon.
        peers: Processes that have the other rows.
    """
    logs = scores_NK / epsilon
    if not iterations:
        return torch.softmax(logs, dim=1)
    for _ in range(iterations):
        largest = peers.largest(logs.amax(0))
        logs = logs - largest - peers.total((logs - largest).exp().sum(0)).log()
        logs = torch.log_softmax(logs, dim=1)
    return logs.exp()
