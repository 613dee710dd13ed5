"""Learning-rate and weight-decay schedules as arrays of one value a step.

Three forms: `cosine` is the common linear warm-up followed by a cosine over the rest. `vissl` is what RoB's and SEED's
code really computes: the cosine runs over the *global* progress, so after a 10 % warm-up it starts at 97.6 % of the
peak and the peak itself is never used. `sslight` is DINO's and SSLight's: the last step of the warm-up and the first of
the cosine both have the peak.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

Form = Literal["cosine", "vissl", "sslight"]
Update = Literal["step", "epoch"]


def progress(epochs: int, steps_per_epoch: int, update: Update) -> np.ndarray:
    """Progress in [0, 1) at every step; constant over an epoch where `update` is "epoch"."""
    steps = np.arange(epochs * steps_per_epoch)
    return steps / len(steps) if update == "step" else (steps // steps_per_epoch) / epochs


def cosine(where: np.ndarray, start: float, end: float) -> np.ndarray:
    """Half a cosine from `start` at progress 0 to `end` at progress 1."""
    values: np.ndarray = end + (start - end) * (1 + np.cos(np.pi * where)) / 2
    return values


def warmup_cosine(
    where: np.ndarray, *, start: float, peak: float, end: float, warmup: float, form: Form = "cosine"
) -> np.ndarray:
    """Linear from `start` to `peak` over the share `warmup` of the progress, then a cosine to `end`.

    Args:
        where: Progress in [0, 1), see `progress`.
        start: Value at progress 0.
        peak: Value at the end of the warm-up.
        end: Value at progress 1.
        warmup: Fraction of the run, in [0, 1).
        form: See the module's docstring.
    """
    if warmup <= 0:
        return cosine(where, peak, end)
    if form == "sslight":
        # Over the points at which the value may change: steps, or epochs.
        points, index = np.unique(where, return_inverse=True)
        rising_points = round(warmup * len(points))
        falling_points = np.arange(len(points) - rising_points) / max(1, len(points) - rising_points)
        values = np.concatenate((np.linspace(start, peak, rising_points), cosine(falling_points, peak, end)))
        return values[index]
    rising = start + (peak - start) * where / warmup
    falling = cosine(where if form == "vissl" else (where - warmup) / (1 - warmup), peak, end)
    return np.where(where < warmup - 1e-6, rising, falling)


def teacher_temperature(epoch: int, epochs: int, *, start: float, end: float, warmup: float) -> float:
    """DINO's: linear over the first epochs, the last of which has `end` already, then constant.

    Args:
        epoch: From 0.
        epochs: Epochs of the run.
        start: In epoch 0.
        end: From the end of the warm-up on.
        warmup: Fraction of the run.
    """
    rising = round(warmup * epochs)
    return float(np.linspace(start, end, rising)[epoch]) if epoch < rising else end


def milestones(
    where: np.ndarray, *, start: float, peak: float, at: Sequence[float], warmup: float = 0.0, factor: float = 0.1
) -> np.ndarray:
    """Linear from `start` to `peak` over the share `warmup`, then constant but for a `factor` at each milestone.

    The step schedule that MoCo and VISSL know beside the cosine; no preset has it.

    Args:
        where: Progress in [0, 1), see `progress`.
        start: Value at progress 0.
        peak: Value after the warm-up, before the first milestone.
        at: Milestones, as progress.
        warmup: Fraction of the run, in [0, 1).
        factor: Multiplies the value from each milestone on.
    """
    # A milestone at the very progress of a step or epoch belongs to that one, whatever rounding says.
    passed = np.searchsorted(np.sort(np.asarray(at, dtype=float)) - 1e-9, where, side="right")
    falling: np.ndarray = peak * factor**passed
    if warmup <= 0:
        return falling
    return np.where(where < warmup - 1e-6, start + (peak - start) * where / warmup, falling)
