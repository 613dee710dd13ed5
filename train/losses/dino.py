"""DINO: a student fits the centred, sharpened outputs of its own EMA (Caron et al., arXiv 2104.14294).

    L = mean over pairs i != v of CE(softmax((t_i - c) / tau_t), softmax(s_v / tau_s)),  c = EMA of the mean of t

SSLight (arXiv 2210.02808) weighs two kinds of pairs: alpha times the mean over global-global pairs plus beta times the
mean over global-local pairs. Shares of the pairs as weights give back the plain mean.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import softmax

from lowzoo.train.losses.pairs import cross_view, grouped_cross_entropy, pair_cross_entropy
from lowzoo.train.losses.peers import ALONE, Peers


class DinoObjective(nn.Module):
    """DINO's loss and its centre.

    Args:
        prototypes: K.
        student_temperature: tau_s.
        centre_momentum: Momentum of the running mean c.
        peers: Processes whose outputs the centre is the mean of.
    """

    centre: Tensor

    def __init__(
        self,
        prototypes: int,
        *,
        student_temperature: float = 0.1,
        centre_momentum: float = 0.9,
        peers: Peers = ALONE,
    ) -> None:
        super().__init__()
        self.peers = peers
        self.student_temperature = student_temperature
        self.centre_momentum = centre_momentum
        self.register_buffer("centre", torch.zeros(prototypes))

    def targets(self, teacher_GBK: Tensor, temperature: float) -> Tensor:
        """Probabilities (G, B, K) at tau_t = `temperature`."""
        return softmax((teacher_GBK - self.centre) / temperature, dim=-1)

    def loss(
        self, student_VBK: Tensor, targets_GBK: Tensor, alpha: float | None = None, beta: float | None = None
    ) -> Tensor:
        """Scalar, nats; the plain mean over pairs of different views where no weights are given."""
        tau = self.student_temperature
        if alpha is None or beta is None:
            pairs = cross_view(len(targets_GBK), len(student_VBK)).to(student_VBK.device, non_blocking=True)
            return pair_cross_entropy(targets_GBK, student_VBK, pairs, tau)
        return grouped_cross_entropy(targets_GBK, student_VBK, alpha, beta, temperature=tau)

    @torch.no_grad()
    def update_centre(self, teacher_GBK: Tensor) -> None:
        """Move the centre towards the mean of the teacher's outputs over all processes."""
        mean = self.peers.mean(teacher_GBK.flatten(0, -2).mean(0))
        self.centre.mul_(self.centre_momentum).add_(mean, alpha=1 - self.centre_momentum)
