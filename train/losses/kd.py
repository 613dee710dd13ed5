"""Supervised distillation (Hinton et al., arXiv 1503.02531), which RoB's paper compares with.

L = (1 - a) CE(labels, softmax(s)) + a T^2 KL(softmax(t / T) || softmax(s / T))
"""

from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax


def distillation_loss(
    student_NK: Tensor, teacher_NK: Tensor, labels_N: Tensor, *, temperature: float = 10.0, weight: float = 0.1
) -> Tensor:
    """Scalar, nats; mean over images.

    Args:
        student_NK: Class logits of the student.
        teacher_NK: Class logits of the teacher.
        labels_N: Classes.
        temperature: T.
        weight: a.
    """
    soft = kl_div(
        log_softmax(student_NK / temperature, dim=1),
        log_softmax(teacher_NK / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return (1 - weight) * cross_entropy(student_NK, labels_N) + weight * temperature**2 * soft
