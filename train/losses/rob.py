"""RoB: fit a frozen teacher's prototype distribution on every view.

Duval, Misra, Ballas, "Replace one Branch", arXiv 2301.09451. For teacher global view i and student view v,

    L = mean over allowed (i, v) of  - sum_k  softmax(t_i / tau_t)_k  log softmax(s_v / tau_s)_k

where v = i for global views (the same pixels) and any v for local ones. There is no centring, no momentum encoder and
no temperature warm-up: the teacher is frozen, so nothing can collapse. The members of the family differ in the scores
t and in tau_t alone:

    RoB-DINO  t = logits of the teacher's weight-normed last layer,  tau_t = 0.07
    RoB-MSN   t = cosines with the teacher's prototypes,             tau_t = 0.025  (MSN's 0.1 sharpened by 0.25)
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import softmax

from lowzoo.train.losses.pairs import cross_view, grouped_cross_entropy, pair_cross_entropy, same_view_and_locals

Loss = Literal["dino", "msn"]
TEACHER_TEMPERATURE: dict[Loss, float] = {"dino": 0.07, "msn": 0.025}


@dataclass(frozen=True)
class RobObjective:
    """The RoB loss of one family member.

    Args:
        teacher_temperature: tau_t, see `TEACHER_TEMPERATURE`.
        student_temperature: tau_s.
        swapped: Use the cross-view pairs of ordinary training instead (never so in the paper's configurations).
        weights: SSLight's alpha and beta for the means over global-global and global-local pairs, which make a free
            combination of both recipes; the mean over all pairs where they are absent.
    """

    teacher_temperature: float
    student_temperature: float = 0.1
    swapped: bool = False
    weights: tuple[float, float] | None = None

    def targets(self, scores_GBK: Tensor) -> Tensor:
        """Probabilities (G, B, K) from the teacher's scores (G, B, K)."""
        return softmax(scores_GBK / self.teacher_temperature, dim=-1)

    def loss(self, logits_VBK: Tensor, targets_GBK: Tensor) -> Tensor:
        """Mean cross-entropy over the allowed pairs, or the weighted means; scalar, nats.

        Args:
            logits_VBK: Student logits, global views first.
            targets_GBK: What `targets` gave.
        """
        views, global_views = len(logits_VBK), len(targets_GBK)
        pairs = (cross_view if self.swapped else same_view_and_locals)(global_views, views)
        if self.weights is not None:
            return grouped_cross_entropy(targets_GBK, logits_VBK, *self.weights, pairs, self.student_temperature)
        return pair_cross_entropy(
            targets_GBK, logits_VBK, pairs.to(logits_VBK.device, non_blocking=True), self.student_temperature
        )
