"""What is known to come of a short run on a CPU, from runs like it that were measured."""

from collections.abc import Sequence

from lowzoo import catalog
from lowzoo.base.progress import in_minutes
from lowzoo.catalog.learned import LearnedRow, learned
from lowzoo.train.recipes.facts import Facts

# A run may have so many times what a measured one had, in minutes or images gone through, and be as good as alike.
_ALIKE = 1.5
# Below this fraction of the shortest run that learned, nothing is known but that it is less.
_FAR_SHORTER = 1 / 3


def student_that_learns(
    facts: Facts, *, minutes: float | None, seen: float | None, rows: Sequence[LearnedRow] | None = None
) -> LearnedRow | None:
    """The measured run of the recipe that ended best, where the student's own did not learn in its time; else None.

    Args:
        facts: What is known of images, device and networks.
        minutes: Length of the run, where it has one in minutes.
        seen: Images that it goes through, one counted at each pass, where its length is in steps or epochs.
        rows: What was measured; what the package knows if absent.
    """
    near = _of_such_images(facts, learned() if rows is None else rows)
    if facts.gpu or not _unlearned(facts, near, minutes, seen):
        return None
    better = (row for row in near if row.recipe == facts.recipe and row.learned)
    return max(better, key=_end, default=None)


def caution(
    facts: Facts,
    *,
    init: str,
    minutes: float | None,
    seen: float | None,
    rows: Sequence[LearnedRow] | None = None,
) -> str:
    """A warning for a run that is likely to end no better than it began; empty where none is known.

    Args:
        facts: What is known of images, device and networks.
        init: What the student starts from; random weights if empty.
        minutes: Length of the run, where it has one in minutes.
        seen: Images that it goes through, one counted at each pass, where its length is in steps or epochs.
        rows: What was measured; what the package knows if absent.
    """
    if facts.gpu or init:
        return ""
    near = _of_such_images(facts, learned() if rows is None else rows)
    more = "--minutes" if minutes is not None else "steps"
    if (row := _far_longer(facts, near, minutes, seen)) is not None:
        took = f"{in_minutes(row.minutes)} of two cores on {row.images:,} {row.pictures}"
        return f"This may not learn in its time: {row} k-NN took {took}. Give it more {more}, or {_beginning(facts)}"
    alike = _unlearned(facts, near, minutes, seen)
    if not alike:
        return ""
    best = max(alike, key=lambda row: row.after - row.before)
    text = (
        f"This may not learn in its time: in {in_minutes(best.minutes)} of two cores on {best.images:,} "
        f"{best.pictures}, {best} k-NN: no rise beyond chance (sampling error {best.error:.1f}). "
    )
    better = max((row for row in near if row.learned), key=_end, default=None)
    if better is not None:
        text += (
            f"In the same time k-NN rose with `lowzoo train {better.recipe} --student {better.student}` ({better}). "
        )
    return text + f"Give it more {more}, or {_beginning(facts)}"


def _of_such_images(facts: Facts, rows: Sequence[LearnedRow]) -> list[LearnedRow]:
    """Rows on the smallest measured set that is not smaller, or on the largest; drawings are apart from photographs.

    In the same minutes a run sees the same number of images, however large its set is.
    """
    pictures = "drawings" if facts.drawings else "photographs"
    rows = [row for row in rows if row.pictures == pictures]
    sizes = sorted({row.images for row in rows})
    size = next((size for size in sizes if size >= facts.images), sizes[-1] if sizes else 0)
    return [row for row in rows if row.images == size]


def _unlearned(facts: Facts, near: Sequence[LearnedRow], minutes: float | None, seen: float | None) -> list[LearnedRow]:
    """Runs as long as this one of such a student, where none of them learned."""
    alike = _alike(facts, near)
    if not alike or any(row.learned for row in alike):
        return []
    longest = max(alike, key=_length)
    as_short = minutes is not None and minutes <= _ALIKE * longest.minutes
    as_short = as_short or (seen is not None and seen <= _ALIKE * longest.seen)
    return alike if as_short else []


def _far_longer(
    facts: Facts, near: Sequence[LearnedRow], minutes: float | None, seen: float | None
) -> LearnedRow | None:
    """The shortest run of such a student that learned, where it is far longer than this one."""
    row = min((row for row in _alike(facts, near) if row.learned), key=_length, default=None)
    if row is None:
        return None
    shorter = minutes is not None and minutes < _FAR_SHORTER * row.minutes
    shorter = shorter or (seen is not None and seen < _FAR_SHORTER * row.seen)
    return row if shorter else None


def _alike(facts: Facts, rows: Sequence[LearnedRow]) -> list[LearnedRow]:
    """Rows of the same network; where there are none, of its kind, and at last of its kind by another recipe."""
    mine = [row for row in rows if row.recipe == facts.recipe]
    same = [row for row in mine if row.architecture == facts.student]
    kind = [row for row in mine if row.kind == facts.kind]
    # Of a recipe that nobody measured nothing is known.
    return same or kind or [row for row in rows if mine and row.kind == facts.kind]


def _end(row: LearnedRow) -> float:
    return row.after


def _length(row: LearnedRow) -> float:
    return row.minutes


def _beginning(facts: Facts) -> str:
    """What to say of weights to begin at: those in the package where they are of the student's own architecture."""
    bundled = (entry for entry in catalog.models().values() if any(each.path for each in entry.weights))
    name = next((entry.name for entry in bundled if facts.student in (entry.name, entry.architecture)), "MODEL")
    return f"begin at trained weights (--init {name})"
