"""Learning-rate and weight-decay schedules as arrays of one value a step.

Two forms (recipes of RoB): `cosine` is the common linear warm-up followed by a cosine over the rest. `vissl` is what
the original code really computes: its cosine runs over the *global* progress, so after a 10 % warm-up it starts at
97.6 % of the peak and the peak itself is never used.
"""

from typing import Literal

import numpy as np

Form = Literal["cosine", "vissl"]
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
        warmup: Share of the run, in [0, 1).
        form: See the module's docstring.
    """
    if warmup <= 0:
        return cosine(where, peak, end)
    rising = start + (peak - start) * where / warmup
    falling = cosine(where if form == "vissl" else (where - warmup) / (1 - warmup), peak, end)
    return np.where(where < warmup - 1e-6, rising, falling)
