"""SEED: reproduce the teacher's similarities to a queue of past images (Fang et al., arXiv 2101.04731).

    p_T = softmax([t.t, t.D] / tau_T),   p_S = softmax([s.t, s.D] / tau_S),   L = mean of CE(p_T, p_S)

t and s are unit embeddings of the same image by teacher and student, D the queue of past teacher embeddings; column 0
is the image's own teacher key. The keys are enqueued after the loss.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize, softmax

from lowzoo.train.kernels.precision import full
from lowzoo.train.kernels.queue_cross_entropy import soft_queue_cross_entropy
from lowzoo.train.losses.peers import ALONE, Peers
from lowzoo.train.losses.queue import KeyQueue


class SeedObjective(nn.Module):
    """SEED on one view an image.

    Args:
        dim: Width D of the embeddings.
        queue_length: K.
        student_temperature: tau_S.
        teacher_temperature: tau_T; the released code's 1e-4 makes the target almost one-hot.
        peers: Processes whose keys the queue holds.
    """

    def __init__(
        self,
        dim: int = 128,
        queue_length: int = 65_536,
        *,
        student_temperature: float = 0.2,
        teacher_temperature: float = 0.01,
        peers: Peers = ALONE,
    ) -> None:
        super().__init__()
        self.peers = peers
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature
        self.queue = KeyQueue(dim, queue_length)

    def loss(self, student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
        """Scalar, nats; both embeddings are normalised here, in fp32 or better."""
        return self._against(self.queue.keys, student_BD, teacher_BD)

    @torch.no_grad()
    def enqueue(self, teacher_BD: Tensor) -> None:
        """Put the teacher's embeddings of a whole step into the queue."""
        self.queue.push(self.peers.rows(normalize(teacher_BD, dim=-1)))

    def _against(self, keys_KD: Tensor, student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
        # Cosines of fp16 are 5e-4 apart, which is 5 logits at a temperature of 1e-4.
        with torch.autocast(student_BD.device.type, enabled=False):
            return soft_queue_cross_entropy(
                _unit(student_BD),
                _unit(teacher_BD).detach(),
                keys_KD,
                self.student_temperature,
                self.teacher_temperature,
            )


class SmallPatchObjective(SeedObjective):
    """SEED with small patches: local views, too, are compared, with a queue of local keys.

    L = L_global + L_local, the second over all local rows. Of each image's local keys the first is enqueued.
    """

    def __init__(
        self,
        dim: int = 128,
        queue_length: int = 65_536,
        *,
        student_temperature: float = 0.2,
        teacher_temperature: float = 0.01,
        peers: Peers = ALONE,
    ) -> None:
        super().__init__(
            dim,
            queue_length,
            student_temperature=student_temperature,
            teacher_temperature=teacher_temperature,
            peers=peers,
        )
        self.small_queue = KeyQueue(dim, queue_length)

    def loss(  # type: ignore[override]  # two more inputs are what the extension is
        self, student_BD: Tensor, teacher_BD: Tensor, student_LBD: Tensor, teacher_LBD: Tensor
    ) -> Tensor:
        """Scalar, nats.

        Args:
            student_BD: Student's embeddings of the global view.
            teacher_BD: Teacher's.
            student_LBD: Student's embeddings of the local views.
            teacher_LBD: Teacher's.
        """
        local = self._against(self.small_queue.keys, student_LBD.flatten(0, 1), teacher_LBD.flatten(0, 1))
        return super().loss(student_BD, teacher_BD) + local

    @torch.no_grad()
    def enqueue(self, teacher_BD: Tensor, teacher_LBD: Tensor) -> None:  # type: ignore[override]
        """Put the global keys of a whole step, and the first local one of each image, into the queues."""
        super().enqueue(teacher_BD)
        self.small_queue.push(self.peers.rows(normalize(teacher_LBD[0], dim=-1)))


def reference_loss(
    student_BD: Tensor, teacher_BD: Tensor, keys_KD: Tensor, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """The loss of unit embeddings as its formula has it; `soft_queue_cross_entropy` gives the same with less memory."""
    own = (teacher_BD * teacher_BD).sum(-1, keepdim=True), (student_BD * teacher_BD).sum(-1, keepdim=True)
    target = softmax(torch.cat((own[0], teacher_BD @ keys_KD.T), 1) / teacher_temperature, dim=-1)
    logits = torch.cat((own[1], student_BD @ keys_KD.T), 1) / student_temperature
    return cross_entropy(logits, target)


def _unit(x: Tensor) -> Tensor:
    return normalize(full(x), dim=-1)
