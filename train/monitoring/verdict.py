"""What a run's monitors say at its end, in one sentence: better or worse than at its start, by how much, what to do."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from math import hypot, sqrt
from typing import Any

# A difference of so many standard errors is one.
_SURE = 3.0
_MEASURES = {
    "knn": "k-NN top-1 on held-out images (k = {k})",
    "teacher_neighbours": "nearest neighbours shared with the teacher",
    "own_view": "views that find their own image (mean reciprocal rank)",
}


@dataclass(frozen=True)
class Verdict:
    """Whether a run has learned.

    Args:
        measure: The figure that tells: k-NN where there are labels, else agreement with the teacher, else the views'.
        before: At the start, per cent.
        after: At the end, per cent.
        error: Standard error of their difference, per cent: the sampling errors of both together.
        k: Neighbours of k-NN.
        taught: Whether the run had a teacher.
    """

    measure: str
    before: float
    after: float
    error: float
    k: int = 20
    taught: bool = False

    @property
    def better(self) -> bool | None:
        """Whether it is better than at the start; None where the images are too few to tell."""
        change = self.after - self.before
        return None if abs(change) <= _SURE * self.error else change > 0

    def __str__(self) -> str:
        word = {True: "Better than at the start", False: "Worse than at the start", None: "No clear change"}[
            self.better
        ]
        return (
            f"{word}: {_MEASURES[self.measure].format(k=self.k)} {self.before:.1f} -> {self.after:.1f} % "
            f"(standard error of the change {self.error:.1f})"
        )

    @property
    def remedy(self) -> str:
        """What to do where it is not better; empty where it is."""
        if self.better:
            return ""
        more = "--resume with more --minutes, --steps or --epochs trains on"
        if self.better is None:
            return f"Too few held-out images or steps to tell: {more}"
        advice = "" if self.taught else "; a run without a teacher learns faster with one, by `lowzoo train rob`"
        return f"These weights are worth less than those it began with: {more}{advice}"


def at_the_ends(rows: Sequence[dict[str, Any]], key: str, steps: int) -> tuple[float | None, float | None]:
    """A figure before the first step and after the last one; None where it was not measured there.

    Args:
        rows: Rows of the run's metrics.
        key: Name of the figure.
        steps: Steps of the whole run.
    """
    found = {row["step"]: row[key] for row in rows if key in row}
    return found.get(0), found.get(steps)


def verdict(
    rows: Sequence[dict[str, Any]],
    images: dict[str, int],
    steps: int,
    *,
    changed: Collection[str] = (),
    k: int = 20,
    taught: bool = False,
) -> Verdict | None:
    """The verdict on the rows of `metrics.jsonl`; None where nothing was measured at the start and at the end.

    Args:
        rows: Rows of the run's metrics.
        images: Number of images that each measure is a mean over.
        steps: Steps of the whole run.
        changed: Settings that were changed on the way; k-NN on other images is no longer the same figure.
        k: Neighbours of k-NN.
        taught: Whether the run had a teacher.
    """
    for measure in _MEASURES:
        before, after = at_the_ends(rows, measure, steps)
        if before is None or after is None or not steps or not images.get(measure):
            continue
        if measure == "knn" and {"monitor_bank", "monitor_queries"} & set(changed):
            continue
        spreads = at_the_ends(rows, f"{measure}_error", steps)
        error = hypot(*map(partial(_error, images=images[measure]), (before, after), spreads))
        return Verdict(measure, before, after, error, k, taught)
    return None


def _error(percent: float, spread: float | None, images: int) -> float:
    """Sampling error of a figure, per cent.

    By the spread over the images, where it was measured. Else each image is right or wrong. A spread of none, over
    few images, is not known to be exact, so one image more is counted as half right.
    """
    if spread is not None:
        return float(max(spread, 50 / (images + 1)))
    fraction = (percent / 100 * images + 0.5) / (images + 1)
    return 100 * sqrt(fraction * (1 - fraction) / images)
