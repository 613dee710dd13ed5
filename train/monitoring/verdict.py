"""What a run's monitors say at its end, in one sentence: better or worse than at its start, by how much, what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

# A difference of so many sampling errors is one.
_SURE = 3.0
_MEASURES = {
    "knn": "k-NN top-1 on held-out images (k = 20)",
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
        error: Sampling error of `after`, per cent.
    """

    measure: str
    before: float
    after: float
    error: float

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
            f"{word}: {_MEASURES[self.measure]} {self.before:.1f} -> {self.after:.1f} % "
            f"(sampling error {self.error:.1f})"
        )

    @property
    def remedy(self) -> str:
        """What to do where it is not better; empty where it is."""
        if self.better:
            return ""
        more = "--resume with more --minutes, --steps or --epochs trains on"
        if self.better is None:
            return f"Too few images or steps to tell: {more}"
        return (
            f"These weights are worth less than those it began with: {more}; a run without a teacher learns faster "
            "with one, by `lowzoo train rob`"
        )


def verdict(rows: Sequence[dict[str, Any]], images: dict[str, int]) -> Verdict | None:
    """The verdict on the rows of `metrics.jsonl`; None where nothing was measured twice.

    Args:
        rows: Rows of the run's metrics.
        images: Number of images that each measure is a mean over.
    """
    for measure in _MEASURES:
        values = [row[measure] for row in rows if measure in row]
        if len(values) > 1 and images.get(measure):
            # Each image gives a value between 0 and 1, whose variance is at most that of a yes or no; a mean of 0 or 1
            # over few images is not known to be exact, so one image more is counted as half right.
            share = (values[-1] / 100 * images[measure] + 0.5) / (images[measure] + 1)
            return Verdict(measure, values[0], values[-1], 100 * sqrt(share * (1 - share) / images[measure]))
    return None
