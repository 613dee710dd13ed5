"""Which view answers for which target, and the cross-entropy over those pairs.

Shapes: V views of the student, G global views of the target branch, B images, K prototypes; global views stand first.
"""

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from lowzoo.train.kernels.pair_cross_entropy import weighted_cross_entropy


def same_view_and_locals(global_views: int, views: int) -> Tensor:
    """The pairing of RoB: a global view answers for its own pixels, a local view for every global one.

    Returns:
        Boolean mask (G, V) with G * (V - G + 1) pairs.
    """
    mask = torch.ones(global_views, views, dtype=torch.bool)
    mask[:, :global_views] = torch.eye(global_views, dtype=torch.bool)
    return mask


def cross_view(global_views: int, views: int) -> Tensor:
    """The pairing of ordinary joint-embedding training: every view but the target's own.

    Returns:
        Boolean mask (G, V) with G * (V - 1) pairs.
    """
    mask = torch.ones(global_views, views, dtype=torch.bool)
    mask[:, :global_views] = ~torch.eye(global_views, dtype=torch.bool)
    return mask


def pair_cross_entropy(targets_GBK: Tensor, scores_VBK: Tensor, pairs_GV: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean over images and allowed pairs of - sum_k q_k log p_k, where p = softmax(scores / temperature).

    Args:
        targets_GBK: Probabilities q; no gradient flows to them.
        scores_VBK: Scores of the student, global views first.
        pairs_GV: Boolean mask of the allowed pairs.
        temperature: Temperature of the student.

    Returns:
        Scalar, nats.
    """
    return weighted_cross_entropy(targets_GBK, scores_VBK, pairs_GV.to(targets_GBK) / pairs_GV.sum(), temperature)


def grouped_cross_entropy(
    targets_GBK: Tensor,
    scores_VBK: Tensor,
    alpha: float,
    beta: float,
    pairs_GV: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """SSLight's weights: alpha for the mean over pairs of two global views, beta for that over global-local pairs.

    Shares of the pairs as weights give the plain mean back: 2/14 and 12/14 with 2 global and 6 local views.

    Args:
        targets_GBK: Probabilities; no gradient flows to them.
        scores_VBK: Scores of the student, global views first.
        alpha: Weight of the first mean.
        beta: Weight of the second mean.
        pairs_GV: Boolean mask of the allowed pairs; `cross_view` where it is absent.
        temperature: Temperature of the student.

    Returns:
        Scalar, nats.
    """
    global_views, views = len(targets_GBK), len(scores_VBK)
    pairs = (cross_view(global_views, views) if pairs_GV is None else pairs_GV).to(targets_GBK, non_blocking=True)
    weights_GV = alpha * pairs / pairs[:, :global_views].sum()
    if views > global_views:
        weights_GV[:, global_views:] = beta / (global_views * (views - global_views))
    return weighted_cross_entropy(targets_GBK, scores_VBK, weights_GV, temperature)


def reference_cross_entropy(
    targets_GBK: Tensor, scores_VBK: Tensor, weights_GV: Tensor, temperature: float = 1.0
) -> Tensor:
    """- sum over pairs and prototypes of w_gv q_g log p_v, averaged over images: the formula that both losses share.

    `weighted_cross_entropy`, by which they compute it, gives the same with less to read and write.
    """
    log_probs_VBK = log_softmax(scores_VBK / temperature, dim=-1)
    each_GV = -torch.einsum("gbk,vbk->gv", targets_GBK, log_probs_VBK) / scores_VBK.shape[1]
    return (weights_GV * each_GV).sum()
