"""MSN: masked anchors fit the sharpened prototype assignment of an unmasked target (Assran et al., arXiv 2204.07141).

    p = softmax(cos(z, C) / tau),  q = p_target ^ (1 / T), normalised, then Sinkhorn
    L = mean over anchors of CE(q, p)  +  w (ln K - H(mean of p))

The second term, me-max, is 0 where the mean prediction uses every prototype alike.
RoB-MSN's targets are its own with the head of a frozen teacher, and are checked against these.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from lowzoo.train.losses.peers import ALONE, Peers
from lowzoo.train.losses.sinkhorn import sinkhorn


def msn_targets(
    embeddings_BD: Tensor,
    prototypes_KD: Tensor,
    *,
    temperature: float = 0.1,
    sharpening: float = 0.25,
    iterations: int = 3,
    peers: Peers = ALONE,
) -> Tensor:
    """Sharpened assignments (B, K) of the target views.

    Args:
        embeddings_BD: Embeddings of the EMA branch; normalised here, like the prototypes.
        prototypes_KD: C.
        temperature: tau.
        sharpening: T; a softmax at tau, sharpened, is a softmax at tau * T.
        iterations: Iterations of Sinkhorn on the sharpened assignments; 0 leaves them as they are.
        peers: Processes that have the other images.
    """
    with torch.no_grad():
        cosines = normalize(embeddings_BD, dim=-1) @ normalize(prototypes_KD, dim=-1).T
        # Sinkhorn begins with rows of equal mass, which cosines as they are would not give.
        sharpened = log_softmax(cosines / (temperature * sharpening), dim=-1)
        return sinkhorn(sharpened, epsilon=1.0, iterations=iterations, peers=peers)


def msn_loss(
    anchors_VBD: Tensor,
    targets_BK: Tensor,
    prototypes_KD: Tensor,
    *,
    temperature: float = 0.1,
    peers: Peers = ALONE,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy over all anchors, and the me-max term; scalars, nats.

    Args:
        anchors_VBD: The student's embeddings of the anchor views; normalised here, like the prototypes.
        targets_BK: What `msn_targets` gave for the same images.
        prototypes_KD: C, which learn from this loss.
        temperature: tau.
        peers: Processes over which the prediction is averaged for me-max.
    """
    cosines = normalize(anchors_VBD, dim=-1) @ normalize(prototypes_KD, dim=-1).T
    log_probs = log_softmax(cosines / temperature, dim=-1)
    loss = -(targets_BK * log_probs).sum(-1).mean()
    here = log_probs.exp().flatten(0, 1).mean(0)
    # The value over all processes with the gradient of this one: averaged over processes it is the right gradient.
    mean = here + (peers.mean(here) - here).detach()
    # xlogy takes a prototype that nothing uses as 0.
    me_max = torch.xlogy(mean, mean).sum() + math.log(len(prototypes_KD))
    return loss, me_max
