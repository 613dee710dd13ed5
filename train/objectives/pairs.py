"""Which view answers for which target, and the cross-entropy over those pairs.

Shapes: V views of the student, G global views of the target branch, B images, K prototypes; global views stand first.
"""

import torch
from torch import Tensor


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


def pair_cross_entropy(targets_GBK: Tensor, log_probs_VBK: Tensor, pairs_GV: Tensor) -> Tensor:
    """Mean over images and allowed pairs of - sum_k q_k log p_k.

    All pairs of an image come out of one matrix product, which reads targets and log-probabilities once and keeps no
    (V, B, K) copy for the backward pass.

    Args:
        targets_GBK: Probabilities.
        log_probs_VBK: Log-probabilities of the student, of the same dtype.
        pairs_GV: Boolean mask of the allowed pairs.

    Returns:
        Scalar, nats.
    """
    weights_GV = pairs_GV.to(targets_GBK)
    # bf16 would round log-probabilities near -11 to steps of 0.06.
    with torch.autocast(log_probs_VBK.device.type, enabled=False):
        # In this order the gradient's rows lie as those of the log-probabilities do.
        products_BVG = log_probs_VBK.transpose(0, 1) @ targets_GBK.permute(1, 2, 0)
    return -(products_BVG.mean(0) * weights_GV.T).sum() / weights_GV.sum()


def grouped_cross_entropy(
    targets_GBK: Tensor, log_probs_VBK: Tensor, alpha: float, beta: float, pairs_GV: Tensor | None = None
) -> Tensor:
    """SSLight's weights: alpha for the mean over pairs of two global views, beta for that over global-local pairs.

    Shares of the pairs as weights give the plain mean back: 2/14 and 12/14 with 2 global and 6 local views.

    Args:
        targets_GBK: Probabilities.
        log_probs_VBK: Log-probabilities of the student, global views first.
        alpha: Weight of the first mean.
        beta: Weight of the second mean.
        pairs_GV: Boolean mask of the allowed pairs; `cross_view` where it is absent.

    Returns:
        Scalar, nats.
    """
    global_views, views = len(targets_GBK), len(log_probs_VBK)
    pairs = (cross_view(global_views, views) if pairs_GV is None else pairs_GV).to(log_probs_VBK.device)
    local = torch.zeros_like(pairs)
    local[:, global_views:] = True
    loss = alpha * pair_cross_entropy(targets_GBK, log_probs_VBK, pairs & ~local)
    if views > global_views:
        loss = loss + beta * pair_cross_entropy(targets_GBK, log_probs_VBK, local)
    return loss
