"""RoB-iBOT: fit a frozen teacher's distributions of class tokens and of masked patches (arXiv 2301.09451).

    L = w_c L_cls + w_p L_patch
    L_cls    as RoB-DINO, over the allowed pairs of views
    L_patch  = mean over global views and images of the mean over masked patches of CE(teacher patch, student patch)

The teacher sees the views unmasked. There is no centre and no warm-up of temperatures.
"""

from torch import Tensor
from torch.nn.functional import log_softmax, softmax

from lowzoo.train.losses.rob import RobObjective


def rob_ibot_loss(
    student_cls_VBK: Tensor,
    student_patch_GBNK: Tensor,
    teacher_cls_GBK: Tensor,
    teacher_patch_GBNK: Tensor,
    mask_GBN: Tensor,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.07,
    teacher_patch_temperature: float = 0.07,
    cls_weight: float = 1.0,
    patch_weight: float = 1.0,
    swapped: bool = False,
    weights: tuple[float, float] | None = None,
) -> Tensor:
    """Scalar, nats.

    Args:
        student_cls_VBK: Class-token logits of all views, global ones first.
        student_patch_GBNK: Patch logits of the masked global views.
        teacher_cls_GBK: Class-token logits of the unmasked global views.
        teacher_patch_GBNK: Patch logits of the unmasked global views.
        mask_GBN: True where a patch was masked.
        student_temperature: Temperature of the student's softmax.
        teacher_temperature: Temperature of the class tokens' targets.
        teacher_patch_temperature: Temperature of the patches' targets.
        cls_weight: w_c.
        patch_weight: w_p.
        swapped: Cross-view pairs for the class tokens; patches always pair with themselves.
        weights: Weights of the class tokens' two kinds of pairs, see `RobObjective`.
    """
    objective = RobObjective(teacher_temperature, student_temperature, swapped, weights)
    cls = objective.loss(student_cls_VBK, objective.targets(teacher_cls_GBK))
    targets = softmax(teacher_patch_GBNK / teacher_patch_temperature, dim=-1)
    patch = masked_cross_entropy(student_patch_GBNK / student_temperature, targets, mask_GBN)
    return cls_weight * cls + patch_weight * patch


def masked_cross_entropy(logits_GBNK: Tensor, targets_GBNK: Tensor, mask_GBN: Tensor) -> Tensor:
    """Mean over views and images of the mean cross-entropy over masked patches; 0 for an image without any."""
    losses = -(targets_GBNK * log_softmax(logits_GBNK.to(targets_GBNK.dtype), dim=-1)).sum(-1)
    mask = mask_GBN.to(losses.dtype)
    return ((losses * mask).sum(-1) / mask.sum(-1).clamp_min(1)).mean()
