"""Linear probes without a training: the minimum of the regularised loss, by L-BFGS.

The loss is that of scikit-learn's `LogisticRegression` with C = 1 / (w N): mean cross-entropy + w / 2 * |W|^2, where
w is the weight decay, W the weights and N the number of images; the offsets are not penalised. It is convex, and the
solver starts at zero, so no seed has a say in the answer, which is that of scikit-learn to within the tolerance of
either. Shapes: N images, D dimensions, C classes, P probes.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from lowzoo.evaluate.probes.linear_probes import ProbeBank

# scikit-learn's: the solver stops where no partial derivative is larger, or where float32 shows no further descent.
TOLERANCE = 1e-4
_MOST_STEPS = 1000
# A probe has converged where no partial derivative is larger: float32 shows no descent a few times above the tolerance.
_CONVERGED = 10 * TOLERANCE
# Images whose scores are held at a time.
_CHUNK = 65_536


def solve(bank: ProbeBank, x_ND: Tensor, labels_N: Tensor, advance: Callable[[int], None] = lambda _: None) -> bool:
    """Put each of P probes, with offsets, at the minimum of its loss.

    Args:
        bank: Probes on standardised features, whose statistics have been fitted.
        x_ND: Features, not standardised, on the device of the probes.
        labels_N: On the same device.
        advance: Called with 1 after each probe.

    Returns:
        Whether every probe has converged: it need not have where steps run out, or where features or penalties are so
        large that float32 cannot tell one loss from the next.
    """
    x_ND, converged = bank.normalised(x_ND), True
    for probe, candidate in enumerate(bank.candidates):
        weight_CD, bias_C, slope = _minimum(x_ND, labels_N, len(bank.bias_PC[probe]), candidate.weight_decay)
        converged = converged and slope <= _CONVERGED
        with torch.no_grad():
            bank.weight_PCD[probe], bank.bias_PC[probe] = weight_CD, bias_C
        advance(1)
    return converged


def _minimum(x_ND: Tensor, labels_N: Tensor, classes: int, decay: float) -> tuple[Tensor, Tensor, float]:
    """Weights (C, D), offsets (C,), and the largest partial derivative there."""
    weight_CD = x_ND.new_zeros(classes, x_ND.shape[1]).requires_grad_()
    bias_C = x_ND.new_zeros(classes).requires_grad_()
    solver = torch.optim.LBFGS(
        [weight_CD, bias_C],
        max_iter=_MOST_STEPS,
        tolerance_grad=TOLERANCE,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def loss() -> float:
        solver.zero_grad()
        total = 0.0
        for x, labels in zip(x_ND.split(_CHUNK), labels_N.split(_CHUNK), strict=True):
            part = cross_entropy(linear(x, weight_CD, bias_C), labels, reduction="sum") / len(x_ND)
            part.backward()
            total += part.item()
        penalty = decay / 2 * weight_CD.square().sum()
        penalty.backward()
        return total + penalty.item()

    solver.step(loss)
    loss()
    slope = torch.stack([part.grad.abs().max() for part in (weight_CD, bias_C) if part.grad is not None]).max()
    return weight_CD.detach(), bias_C.detach(), slope.item()
