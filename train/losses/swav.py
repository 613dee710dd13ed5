"""SwAV: predict each global view's code from the other views (Caron et al., arXiv 2006.09882).

    L = mean over pairs i != v of CE(Sinkhorn(C z_i / eps), softmax(C z_v / tau)),  z unit embeddings, C prototypes

with SSLight's weights of two kinds of pairs (arXiv 2210.02808). A queue of past embeddings of each assigned view joins
Sinkhorn, in front of the batch, once it is full.
"""

import torch
from torch import Tensor, nn

from lowzoo.train.losses.pairs import grouped_cross_entropy
from lowzoo.train.losses.peers import ALONE, Peers
from lowzoo.train.losses.sinkhorn import sinkhorn


class SwavObjective(nn.Module):
    """SwAV's loss and its queues.

    Args:
        dim: Width D of the embeddings.
        global_views: Assigned views G, one queue each.
        queue_length: Embeddings in a queue, over all processes; 0 for none.
        temperature: tau.
        epsilon: Sharpness of the codes.
        iterations: Iterations of Sinkhorn.
        peers: Processes that share batch and queues.
    """

    queue: Tensor

    def __init__(
        self,
        dim: int,
        *,
        global_views: int = 2,
        queue_length: int = 0,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        peers: Peers = ALONE,
    ) -> None:
        super().__init__()
        self.peers = peers
        self.temperature, self.epsilon, self.iterations = temperature, epsilon, iterations
        self.register_buffer("queue", torch.zeros(global_views, queue_length, dim))
        # Whether it is full never becomes untrue again, and to ask a GPU in every step would wait for it: its steps are
        # counted on the host, and the queue itself is asked once, as it may come from a checkpoint.
        self._free: int | None = None
        self.register_load_state_dict_post_hook(SwavObjective._forget)  # type: ignore[no-untyped-call]

    def loss(self, logits_VBK: Tensor, *, prototypes_KD: Tensor, use_queue: bool, alpha: float, beta: float) -> Tensor:
        """Scalar, nats.

        Args:
            logits_VBK: Cosines of all views with the prototypes, global views first.
            prototypes_KD: For the scores of the queue.
            use_queue: Let it join once it is full.
            alpha: Weight of the mean over global-global pairs.
            beta: Weight of the mean over global-local pairs.
        """
        codes = self.codes(logits_VBK.detach(), prototypes_KD.detach(), use_queue=use_queue)
        return grouped_cross_entropy(codes, logits_VBK, alpha, beta, temperature=self.temperature)

    @torch.no_grad()
    def codes(self, logits_VBK: Tensor, prototypes_KD: Tensor, *, use_queue: bool) -> Tensor:
        """Codes (G, B, K) of the global views, each over the batch of all processes."""
        joins = use_queue and self.queue_is_full()
        codes = []
        for queue, scores in zip(self.queue, logits_VBK, strict=False):
            rows = scores
            if joins:
                past = queue[self.peers.rank :: self.peers.count].to(scores) @ prototypes_KD.to(scores).T
                rows = torch.cat((past, scores))
            everyone = sinkhorn(rows, epsilon=self.epsilon, iterations=self.iterations, peers=self.peers)
            codes.append(everyone[-len(scores) :])
        return torch.stack(codes)

    def queue_is_full(self) -> bool:
        """Whether there is a queue and its oldest slots hold embeddings."""
        if not self.queue.shape[1]:
            return False
        if self._free is None:
            # Slots are filled from the front.
            self._free = int((~self.queue[0].any(-1)).sum())
        return self._free == 0

    def _forget(self, _: object) -> None:
        """Ask again after a checkpoint was loaded."""
        self._free = None

    @torch.no_grad()
    def enqueue(self, embeddings_GBD: Tensor) -> None:
        """Put the embeddings of a whole step, of all processes, in front of the queues."""
        if self.queue.shape[1]:
            self.queue_is_full()
            fresh = torch.stack([self.peers.rows(view) for view in embeddings_GBD]).to(self.queue)
            self.queue = torch.cat((fresh, self.queue), 1)[:, : self.queue.shape[1]].contiguous()
            self._free = max(0, (self._free or 0) - fresh.shape[1])
