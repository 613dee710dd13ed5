"""Cross-entropy over weighted pairs of views in one pass; the formula is `reference_cross_entropy` of the losses.

Shapes: V views of the student, G global views of the target branch, B images, K prototypes.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import log_softmax

# What fits into a core's own cache.
_CACHE_BYTES = 2**20


def weighted_cross_entropy(targets_GBK: Tensor, scores_VBK: Tensor, weights_GV: Tensor, temperature: float) -> Tensor:
    """Scalar, nats: what `reference_cross_entropy` gives; no gradient flows to targets and weights."""
    loss: Tensor = _WeightedCrossEntropy.apply(scores_VBK.to(targets_GBK.dtype), targets_GBK, weights_GV, temperature)
    return loss


class _WeightedCrossEntropy(torch.autograd.Function):
    """Loss and gradient in one pass over the scores, some images at a time.

    With 65,536 prototypes, temperature, softmax, product and their backward passes read and write (V, B, K) numbers a
    dozen times, from memory; the few images of a part stay in a CPU's cache.
    """

    @staticmethod
    def forward(ctx: Any, scores_VBK: Tensor, targets_GBK: Tensor, weights_GV: Tensor, temperature: float) -> Tensor:
        views, images, prototypes = scores_VBK.shape
        weights_VG = weights_GV.to(scores_VBK).T / images
        gradient_VBK = torch.empty_like(scores_VBK) if ctx.needs_input_grad[0] else None
        at_once = images
        if scores_VBK.device.type == "cpu":
            at_once = max(1, _CACHE_BYTES // (views * prototypes * scores_VBK.element_size()))
        loss = scores_VBK.new_zeros(())
        # bf16 would round log-probabilities near -11 to steps of 0.06.
        with torch.autocast(scores_VBK.device.type, enabled=False):
            for start in range(0, images, at_once):
                part = slice(start, start + at_once)
                targets_bGK = targets_GBK[:, part].transpose(0, 1)
                log_probs_bVK = log_softmax(scores_VBK[:, part].transpose(0, 1) / temperature, dim=-1)
                products_bVG = log_probs_bVK @ targets_bGK.transpose(1, 2)
                loss -= (products_bVG.sum(0) * weights_VG).sum()
                if gradient_VBK is not None:
                    # d/ds of - sum_g w_g q_g log p is (p sum_g w_g |q_g| - sum_g w_g q_g) / temperature.
                    mass_bV1 = (targets_bGK.sum(-1) @ weights_VG.T)[..., None] / temperature
                    slopes_bVK = log_probs_bVK.exp_().mul_(mass_bV1)
                    slopes_bVK.baddbmm_(weights_VG.expand(len(slopes_bVK), -1, -1), targets_bGK, alpha=-1 / temperature)
                    gradient_VBK[:, part] = slopes_bVK.transpose(0, 1)
        # Freed as soon as it has been used, which an attribute of `ctx` would not be.
        ctx.save_for_backward(gradient_VBK)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient_VBK,) = ctx.saved_tensors
        # To ask a GPU whether it is 1 would wait for it.
        if outer.device.type == "cpu" and outer == 1:
            return gradient_VBK, None, None, None
        return gradient_VBK * outer, None, None, None
