"""SEED's cross-entropy over a queue in little memory; the formula is `lowzoo.train.losses.seed.reference_loss`."""

from typing import Any

import torch
from torch import Tensor


def soft_queue_cross_entropy(
    student_BD: Tensor, teacher_BD: Tensor, keys_KD: Tensor, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Scalar, nats: what `reference_loss` gives for unit embeddings; gradient flows to the student's alone."""
    loss: Tensor = _SoftQueueCrossEntropy.apply(
        student_BD, teacher_BD, keys_KD, student_temperature, teacher_temperature
    )
    return loss


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
