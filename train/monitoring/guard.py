"""Stops a run that no longer learns: a loss that is not a number, or features and outputs that no longer differ."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from lowzoo.base.errors import LowzooError

# A collapsed loss stands still at ln K to four digits; a healthy one only passes through.
_CLOSE = 1e-4
# Logged losses at ln K that end a run, in a long one. DINO on MobileNetV3-Large came to stand there
# (benchmarks/dino_collapse.py); no run of benchmarks/default_settings.py had two in a row.
_PATIENCE = 200
# Two pictures span one axis however much they differ, and so do a few of which most are nearly alike: so few have
# collapsed where their features do not differ at all.
_FEWEST = 10
_NO_SPREAD = 1e-4
_LEAST_PATIENCE = 20
_BACK = (
    "go on by the same command with --resume and {}; --from STEP goes back to an earlier checkpoint, --from 0 starts "
    "again"
)
DIVERGED = "Lower the learning rate: " + _BACK.format("--set lr=..., --set clip_grad=1 or --precision fp32")


def patience_of(logged: int) -> int:
    """Losses in a row at ln K after which a run that logs so many has collapsed: a quarter of them, 20 to 200."""
    return min(_PATIENCE, max(_LEAST_PATIENCE, logged // 4))


class Guard:
    """Watches the logged losses and the monitor's features.

    Args:
        outputs: Number of outputs K; 0 where a uniform guess means nothing.
        sharpness: Setting by which the recipe sharpens or softens its targets, empty if it has none.
        patience: Logged losses in a row at ln K that end the run.
    """

    def __init__(self, outputs: int, sharpness: str = "", patience: int = _PATIENCE) -> None:
        self.uniform = math.log(outputs) if outputs > 1 else math.nan
        self.patience = patience
        changes = ["lr", *([sharpness] if sharpness else [])]
        self._remedy = (
            "Lower the learning rate"
            + (f" or change {sharpness}: " if sharpness else ": ")
            + _BACK.format(" or ".join(f"--set {name}=..." for name in changes))
            + ". A larger batch is another run; --set guard=false goes on as it is"
        )
        self._stuck = 0
        self._moved = False

    def loss(self, value: float, step: int, beside: float = 0.0) -> None:
        """Check a loss.

        Args:
            value: The recipe's own.
            step: Step of the loss.
            beside: What is added to it for the gradient.

        Raises:
            LowzooError: Their sum is not finite, or the recipe's own has stood at ln K.
        """
        if not math.isfinite(value + beside):
            raise LowzooError(f"the loss became {value + beside} at step {step}", DIVERGED)
        at_uniform = abs(value - self.uniform) <= _CLOSE * abs(self.uniform)
        self._moved = self._moved or not at_uniform
        self._stuck = self._stuck + 1 if at_uniform else 0
        if self._stuck >= self.patience and self._moved:
            raise LowzooError(
                f"the run has collapsed: the loss stands at ln K = {self.uniform:.4f}, where every output is alike, "
                f"for {self._stuck} logged steps (step {step})",
                self._remedy,
            )

    def features(self, features_ND: Tensor, step: int, different: int) -> float:
        """Effective rank of features, see `effective_rank`.

        Args:
            features_ND: Features of the monitor's images.
            step: Step of the measurement.
            different: How many of these images differ.

        Raises:
            LowzooError: Different images have the same features.
        """
        rank = effective_rank(features_ND)
        same = spread(features_ND) < _NO_SPREAD and different > 2
        if same or (rank < 1.05 and different >= _FEWEST):
            raise LowzooError(
                f"the run has collapsed: the features of different images are the same at step {step} "
                f"(effective rank {rank:.2f} of {features_ND.shape[1]})",
                self._remedy,
            )
        return rank

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run has to know, to end where an unbroken one does."""
        return {"stuck": self._stuck, "moved": self._moved}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._stuck, self._moved = int(state["stuck"]), bool(state["moved"])


def all_finite(values: Iterable[object]) -> bool:
    """Whether the floating-point tensors among the values hold finite numbers alone."""
    tensors = [x for x in values if isinstance(x, Tensor) and x.is_floating_point() and x.numel()]
    # One answer a device, as each costs a GPU a pause.
    answers: dict[torch.device, list[Tensor]] = {}
    for x in tensors:
        answers.setdefault(x.device, []).append(torch.isfinite(x).all())
    return all(bool(torch.stack(found).all()) for found in answers.values())


def spread(features_ND: Tensor) -> float:
    """Mean distance of the features from their mean, in parts of their mean length."""
    features = features_ND.double()
    scale = features.norm(dim=1).mean().clamp_min(1e-12)
    return float((features - features.mean(0)).norm(dim=1).mean() / scale)


def effective_rank(features_ND: Tensor) -> float:
    """Exponential of the entropy of the normalised singular values of centred features (Roy and Vetterli, 2007).

    1 where all features lie on one line, or are equal; at most D.
    """
    if spread(features_ND) < _NO_SPREAD:
        return 1.0
    centred = features_ND.double() - features_ND.double().mean(0)
    values = torch.linalg.eigvalsh(centred.T @ centred).clamp_min(0).sqrt()
    shares = values / values.sum()
    return float(torch.exp(-torch.special.xlogy(shares, shares).sum()))
