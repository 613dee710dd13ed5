"""MoCo-v2: tell an image's key among past keys (He et al., arXiv 1911.05722; Chen et al., arXiv 2003.04297).

    InfoNCE(q) = - log  exp(q.k / tau) / (exp(q.k / tau) + sum over the queue of exp(q.n / tau))

SSLight's multi-crop form (arXiv 2210.02808): the key is the first global view, queries are the second global view and
the local ones: alpha InfoNCE(global) + beta mean InfoNCE(locals).
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lowzoo.train.losses.peers import ALONE, Peers
from lowzoo.train.losses.queue import KeyQueue


class MocoObjective(nn.Module):
    """InfoNCE against a queue of keys.

    Args:
        dim: Width D of the embeddings.
        queue_length: K.
        temperature: tau.
        peers: Processes whose keys the queue holds.
    """

    def __init__(
        self, dim: int = 128, queue_length: int = 65_536, *, temperature: float = 0.2, peers: Peers = ALONE
    ) -> None:
        super().__init__()
        self.peers = peers
        self.temperature = temperature
        self.queue = KeyQueue(dim, queue_length)

    def logits(self, queries_ND: Tensor, keys_ND: Tensor) -> Tensor:
        """(N, 1 + K) divided by the temperature, the own key first; both inputs are normalised here."""
        queries, keys = normalize(queries_ND, dim=-1), normalize(keys_ND, dim=-1)
        own = (queries * keys).sum(-1, keepdim=True)
        return torch.cat((own, queries @ self.queue.keys.to(queries).T), 1) / self.temperature

    def loss(self, queries_VBD: Tensor, key_BD: Tensor, alpha: float = 1.0, beta: float = 0.0) -> Tensor:
        """Scalar, nats.

        Args:
            queries_VBD: The second global view first, then the local ones.
            key_BD: EMA branch's embeddings of the first global view.
            alpha: Weight of the global query.
            beta: Weight of the mean over local queries.
        """
        logits = self.logits(queries_VBD.flatten(0, 1), key_BD.detach().repeat(len(queries_VBD), 1))
        return multi_crop_info_nce(logits.unflatten(0, queries_VBD.shape[:2]), alpha, beta)

    @torch.no_grad()
    def enqueue(self, key_BD: Tensor) -> None:
        """Put the keys of a whole step into the queue."""
        self.queue.push(self.peers.rows(normalize(key_BD, dim=-1)))


def multi_crop_info_nce(logits_VBK: Tensor, alpha: float, beta: float) -> Tensor:
    """InfoNCE of view 0 times alpha, plus its mean over the other views times beta; scalar, nats.

    Args:
        logits_VBK: Similarities divided by the temperature, the own key's in column 0.
        alpha: Weight of the first view's term.
        beta: Weight of the mean over the others; of no use without them.
    """
    losses_V = (logits_VBK.logsumexp(-1) - logits_VBK[..., 0]).mean(-1)
    loss = alpha * losses_V[0]
    return loss + beta * losses_V[1:].mean() if len(losses_V) > 1 else loss
