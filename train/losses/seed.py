"""SEED: reproduce the teacher's similarities to a queue of past images (Fang et al., arXiv 2101.04731).

    p_T = softmax([t.t, t.D] / tau_T),   p_S = softmax([s.t, s.D] / tau_S),   L = mean of CE(p_T, p_S)

t and s are unit embeddings of the same image by teacher and student, D the queue of past teacher embeddings; column 0
is the image's own teacher key. The keys are enqueued after the loss.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lowzoo.train.kernels.precision import full
from lowzoo.train.losses.queue import KeyQueue


class SeedObjective(nn.Module):
    """SEED on one view an image.

    Args:
        dim: Width D of the embeddings.
        queue_length: K.
        student_temperature: tau_S.
        teacher_temperature: tau_T; the released code's 1e-4 makes the target almost one-hot.
    """

    def __init__(
        self,
        dim: int = 128,
        queue_length: int = 65_536,
        *,
        student_temperature: float = 0.2,
        teacher_temperature: float = 0.01,
    ) -> None:
        super().__init__()
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature
        self.queue = KeyQueue(dim, queue_length)

    def loss(self, student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
        """Scalar, nats; both embeddings are normalised here, in fp32 or better."""
        return self._against(self.queue.keys, student_BD, teacher_BD)

    @torch.no_grad()
    def enqueue(self, teacher_BD: Tensor) -> None:
        """Put the teacher's embeddings of a whole step into the queue."""
        self.queue.push(normalize(teacher_BD, dim=-1))

    def _against(self, keys_KD: Tensor, student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
        # Cosines of fp16 are 5e-4 apart, which is 5 logits at a temperature of 1e-4.
        with torch.autocast(student_BD.device.type, enabled=False):
            loss: Tensor = _SoftQueueCrossEntropy.apply(
                _unit(student_BD),
                _unit(teacher_BD).detach(),
                keys_KD,
                self.student_temperature,
                self.teacher_temperature,
            )
        return loss


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
    ) -> None:
        super().__init__(
            dim, queue_length, student_temperature=student_temperature, teacher_temperature=teacher_temperature
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
        self.small_queue.push(normalize(teacher_LBD[0], dim=-1))


def queue_similarities(rows_BD: Tensor, own_BD: Tensor, keys_KD: Tensor) -> Tensor:
    """Scalar products (B, 1 + K) of each row with its own key, then with all keys; one allocation."""
    out = rows_BD.new_empty(len(rows_BD), 1 + len(keys_KD))
    out[:, 0] = (rows_BD * own_BD).sum(1)
    torch.mm(rows_BD, keys_KD.T, out=out[:, 1:])
    return out


class _SoftQueueCrossEntropy(torch.autograd.Function):
    """CE between two softmaxes over [own key, queue], with at most two B x (K + 1) matrices alive at a time.

    At K = 65,536 and B = 256 one such matrix takes 67 MB in fp32; autograd would keep five. So everything happens in
    place, and nothing is called that would make such a matrix inside (logsumexp and vecdot do).
    """

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, keys: Tensor, student_temperature: float, teacher_temperature: float
    ) -> Tensor:
        """Loss; what backward needs is softmax(s) - softmax(t)."""
        keys = keys.to(student.dtype)
        target = queue_similarities(teacher, teacher, keys).div_(teacher_temperature)
        _softmax_(target)
        logits = queue_similarities(student, teacher, keys).div_(student_temperature)
        # CE = log sum exp(s) - sum q s, row by row, as sum q = 1.
        agreement = torch.bmm(target[:, None], logits[:, :, None]).flatten()
        loss = (_softmax_(logits) - agreement).mean()
        ctx.save_for_backward(logits.sub_(target), teacher, keys)
        ctx.scale = 1 / (student_temperature * len(student))
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Gradient flows to the student's embeddings alone."""
        difference, teacher, keys = ctx.saved_tensors
        student = difference[:, :1] * teacher + difference[:, 1:] @ keys
        return student * (grad * ctx.scale), None, None, None, None


def _softmax_(logits_BK: Tensor) -> Tensor:
    """Turn logits into probabilities in place; returns their log-sum-exp (B,)."""
    largest = logits_BK.amax(1, keepdim=True)
    total = logits_BK.sub_(largest).exp_().sum(1, keepdim=True)
    logits_BK.div_(total)
    return (largest + total.log()).squeeze(1)


def _unit(x: Tensor) -> Tensor:
    return normalize(full(x), dim=-1)
