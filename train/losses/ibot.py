"""iBOT: DINO on class tokens and, patch by patch, on masked patches (Zhou et al., arXiv 2111.07832).

    L = w_c L_cls + w_p L_patch
    L_cls    DINO's loss over pairs of different views
    L_patch  same view: mean over views and images of the mean over masked patches of
             CE(softmax((t - c_p) / tau_p), softmax(s / tau_s))

Class tokens and patches have centres of their own; the teacher is the EMA of the student and sees no masks.
RoB-iBOT shares its patch term; the whole loss is what that term was derived from and is checked with.
"""

import torch
from torch import Tensor, nn

from lowzoo.train.losses.dino import DinoObjective
from lowzoo.train.losses.peers import ALONE, Peers
from lowzoo.train.losses.rob_ibot import masked_cross_entropy


class IbotObjective(nn.Module):
    """iBOT's loss and its two centres.

    Args:
        prototypes: K of the class tokens.
        patch_prototypes: K of the patches, as many as of the class tokens if absent.
        student_temperature: tau_s.
        centre_momentum: Momentum of the class tokens' centre.
        patch_centre_momentum: Momentum of the patches' centre.
        cls_weight: w_c.
        patch_weight: w_p.
        peers: Processes whose outputs the centres are the means of.
    """

    def __init__(
        self,
        prototypes: int,
        patch_prototypes: int | None = None,
        *,
        student_temperature: float = 0.1,
        centre_momentum: float = 0.9,
        patch_centre_momentum: float = 0.9,
        cls_weight: float = 1.0,
        patch_weight: float = 1.0,
        peers: Peers = ALONE,
    ) -> None:
        super().__init__()
        self.cls = DinoObjective(
            prototypes, student_temperature=student_temperature, centre_momentum=centre_momentum, peers=peers
        )
        self.patch = DinoObjective(
            patch_prototypes or prototypes,
            student_temperature=student_temperature,
            centre_momentum=patch_centre_momentum,
            peers=peers,
        )
        self.cls_weight = cls_weight
        self.patch_weight = patch_weight

    def loss(
        self,
        student_cls_VBK: Tensor,
        student_patch_GBNK: Tensor,
        teacher_cls_GBK: Tensor,
        teacher_patch_GBNK: Tensor,
        mask_GBN: Tensor,
        *,
        temperature: float,
        patch_temperature: float,
    ) -> Tensor:
        """Scalar, nats.

        Args:
            student_cls_VBK: Class-token logits of all views, global ones first.
            student_patch_GBNK: Patch logits of the masked global views.
            teacher_cls_GBK: Class-token logits of the unmasked global views.
            teacher_patch_GBNK: Patch logits of the unmasked global views.
            mask_GBN: True where a patch was masked.
            temperature: Temperature of the class tokens' targets.
            patch_temperature: tau_p.
        """
        cls = self.cls.loss(student_cls_VBK, self.cls.targets(teacher_cls_GBK, temperature))
        targets = self.patch.targets(teacher_patch_GBNK, patch_temperature)
        patch = masked_cross_entropy(student_patch_GBNK / self.patch.student_temperature, targets, mask_GBN)
        return self.cls_weight * cls + self.patch_weight * patch

    @torch.no_grad()
    def update_centres(self, teacher_cls_GBK: Tensor, teacher_patch_GBNK: Tensor) -> None:
        """Move both centres towards the means over all processes; after the loss."""
        self.cls.update_centre(teacher_cls_GBK)
        self.patch.update_centre(teacher_patch_GBNK)
