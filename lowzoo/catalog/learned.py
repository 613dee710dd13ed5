"""What `lowzoo train` with its own settings has been seen to learn in minutes, by `benchmarks/default_settings.py`.

A row is a pair of recipe and student on two CPU cores, with one seed or several. Its k-NN counts as risen where it rose
by more than three standard errors.
"""

import functools
from dataclasses import dataclass

from lowzoo.catalog.reader import read_toml

# A rise of so many standard errors is one.
SURE = 3.0


@dataclass(frozen=True, slots=True)
class LearnedRow:
    """Runs of one pair with other seeds; figures are means over them.

    Args:
        name: Images, recipe and student.
        pictures: What the images are.
        images: Number of training images.
        recipe: Name of the recipe.
        student: Name of the student.
        architecture: timm's name of its network.
        kind: "vit" or "cnn".
        minutes: Of two CPU cores.
        seen: Images gone through, one counted at each pass.
        before: k-NN top-1 on held-out images before training, per cent.
        after: The same at the end.
        error: Standard error of the rise: of one run the sampling errors of both accuracies together, of several the
            larger of this and the spread of their rises, by the root of their number.
        runs: How many there are.
    """

    name: str
    pictures: str
    images: int
    recipe: str
    student: str
    architecture: str
    kind: str
    minutes: float
    seen: int
    before: float
    after: float
    error: float
    runs: int = 1

    @property
    def learned(self) -> bool:
        """Whether k-NN rose by more than chance explains."""
        return self.after - self.before > SURE * self.error

    def __str__(self) -> str:
        return f"{self.recipe} on {self.student} {self.before:.1f} -> {self.after:.1f} %"


@functools.cache
def learned() -> tuple[LearnedRow, ...]:
    """All rows."""
    return tuple(LearnedRow(name, **table) for name, table in read_toml("learned.toml").items())
