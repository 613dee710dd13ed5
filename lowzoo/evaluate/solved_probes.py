"""Linear probes without a training: the minimum of the regularised loss, by L-BFGS.

The loss is that of scikit-learn's `LogisticRegression` with C = 1 / (w N): mean cross-entropy + w / 2 * |W|^2, where
w is the weight decay, W the weights and N the number of images; the offsets are not penalised. It is convex, so there
is one answer, whatever the seed. Shapes: N images, D dimensions, C classes, P probes.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lowzoo.evaluate.probes import ProbeBank

# scikit-learn's: the solver stops where no partial derivative is larger.
TOLERANCE = 1e-4
_MOST_STEPS = 1000
# Images whose scores are held at a time.
_CHUNK = 65_536


def solve(bank: ProbeBank, x_ND: Tensor, labels_N: Tensor, advance: Callable[[int], None] = lambda _: None) -> None:
    """Put each of P probes, with offsets, at the minimum of its loss.

    Args:
        bank: Probes on standardised features, whose statistics have been fitted.
        x_ND: Features, not standardised, on the device of the probes.
        labels_N: On the same device.
        advance: Called with 1 after each probe.
    """
    x_ND = bank.normalised(x_ND)
    start_CF = torch.zeros_like(torch.cat([bank.weight_PCD[0], bank.bias_PC[0, :, None]], dim=1))
    # From the strongest penalty, which is solved in a few steps, to the weakest, each from the answer before.
    for probe in sorted(range(len(bank.candidates)), key=lambda i: -bank.candidates[i].weight_decay):
        start_CF = _minimum(x_ND, labels_N, bank.candidates[probe].weight_decay, start_CF)
        with torch.no_grad():
            bank.weight_PCD[probe], bank.bias_PC[probe] = start_CF[:, :-1], start_CF[:, -1]
        advance(1)


def _minimum(x_ND: Tensor, labels_N: Tensor, decay: float, start_CF: Tensor) -> Tensor:
    """Weights and, in the last column, offsets (C, D + 1)."""
    probe_CF = start_CF.clone().requires_grad_()
    solver = torch.optim.LBFGS(
        [probe_CF],
        max_iter=_MOST_STEPS,
        tolerance_grad=TOLERANCE,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def loss() -> float:
        solver.zero_grad()
        total = 0.0
        for x, labels in zip(x_ND.split(_CHUNK), labels_N.split(_CHUNK), strict=True):
            logits = torch.addmm(probe_CF[:, -1], x, probe_CF[:, :-1].T)
            part = cross_entropy(logits, labels, reduction="sum") / len(x_ND)
            part.backward()
            total += part.item()
        penalty = decay / 2 * probe_CF[:, :-1].square().sum()
        penalty.backward()
        return total + penalty.item()

    solver.step(loss)
    return probe_CF.detach()
