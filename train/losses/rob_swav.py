"""RoB-SwAV's targets: Sinkhorn codes of a frozen teacher's prototype scores (arXiv 2301.09451).

    q_i = Sinkhorn(u_i / 0.03),  u_i = teacher's cosines with its prototypes

The loss is that of `lowzoo.train.losses.rob`. With 0 iterations the target is softmax(u / epsilon), which is how a
DINO teacher with its 65,536 outputs passes through this loss.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from lowzoo.train.losses.peers import ALONE, Peers
from lowzoo.train.losses.sinkhorn import sinkhorn


class SinkhornTargets(nn.Module):
    """Codes of each teacher view over the batch of all processes.

    Args:
        prototypes: Number of scores K.
        epsilon: Sharpness.
        iterations: Iterations of Sinkhorn.
        queue_length: Rows of past teacher scores, over all processes, that join Sinkhorn and are dropped from its
            result; newest first.
        hard: Put all of an image's mass on its best prototype after Sinkhorn (never so in the paper's configurations).
        peers: Processes that share batch and queue.
    """

    queue: Tensor
    filled: Tensor

    def __init__(
        self,
        prototypes: int,
        *,
        epsilon: float = 0.03,
        iterations: int = 3,
        queue_length: int = 0,
        hard: bool = False,
        peers: Peers = ALONE,
    ) -> None:
        super().__init__()
        self.peers = peers
        self.epsilon = epsilon
        self.iterations = iterations
        self.hard = hard
        self.register_buffer("queue", torch.zeros(queue_length, prototypes if queue_length else 0))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))
        # Known to the host as well, which would wait for a GPU to ask it in every step; None until it was asked.
        self._filled: int | None = None
        self.register_load_state_dict_post_hook(SinkhornTargets._forget)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def targets(self, scores_GBK: Tensor) -> Tensor:
        """Codes (G, B, K) from the teacher's scores (G, B, K); the queue then takes those of all processes."""
        # Each process brings an equal share of the past rows; Sinkhorn does not care which.
        shared = self._filled_on_host() // self.peers.count * self.peers.count
        past = self.queue[self.peers.rank : shared : self.peers.count].to(scores_GBK)
        codes = torch.stack([self._codes(view, past) for view in scores_GBK])
        self._push(scores_GBK)
        return codes

    def _codes(self, scores_BK: Tensor, past: Tensor) -> Tensor:
        rows = torch.cat((scores_BK, past)) if len(past) else scores_BK
        everyone = sinkhorn(rows, epsilon=self.epsilon, iterations=self.iterations, peers=self.peers)
        codes = everyone[: len(scores_BK)]
        return one_hot(codes.argmax(1), codes.shape[1]).to(codes) if self.hard and self.iterations else codes

    def _push(self, scores_GBK: Tensor) -> None:
        if not len(self.queue):
            return
        fresh = torch.cat([self.peers.rows(view) for view in scores_GBK]).to(self.queue)
        self.queue = torch.cat((fresh, self.queue))[: len(self.queue)]
        self._filled = min(len(self.queue), self._filled_on_host() + len(fresh))
        self.filled.fill_(self._filled)

    def _filled_on_host(self) -> int:
        if self._filled is None:
            self._filled = int(self.filled)
        return self._filled

    def _forget(self, _: object) -> None:
        """Ask again after a checkpoint was loaded."""
        self._filled = None
