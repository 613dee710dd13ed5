"""What a source of images was made from, in numbers: nothing is left out without a word."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_MOST_NAMED = 3
_MOST_KINDS = 8
OWN = "written by lowzoo"
HIDDEN = "hidden"
NO_EXTENSION = "without an extension"


@dataclass(frozen=True, slots=True)
class Found:
    """What lay where the images came from.

    Args:
        files: Files, rows or members of any kind.
        pictures: Those that are taken for pictures, over all splits.
        left_out: How many of each kind are not: an extension with its dot, or words.
        notes: Whatever else a reader has to know, a sentence each, without a full stop.
    """

    files: int = 0
    pictures: int = 0
    left_out: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, pictures: int, left_out: Mapping[str, int] = {}, notes: Iterable[str] = ()) -> "Found":
        """Count: whatever is no picture is left out."""
        most_first = sorted(((kind, count) for kind, count in left_out.items() if count), key=lambda item: -item[1])
        return cls(pictures + sum(left_out.values()), pictures, tuple(most_first), tuple(notes))

    def with_notes(self, *notes: str) -> "Found":
        """Add sentences."""
        return Found(self.files, self.pictures, self.left_out, (*self.notes, *notes))

    def lines(self) -> list[str]:
        """The lines for people: the count, then a note each."""
        if not self.files:
            return [f"Note: {note}" for note in self.notes]
        kinds = [f"{count:,} {kind}" for kind, count in self.left_out[:_MOST_KINDS]]
        rest = sum(count for _, count in self.left_out[_MOST_KINDS:])
        kinds += [f"{rest:,} others"] if rest else []
        left_out = f"; left out: {', '.join(kinds)}" if kinds else ""
        return [f"Found: {counted(self.files, 'file')}, {counted(self.pictures, 'picture')}{left_out}"] + [
            f"Note: {note}" for note in self.notes
        ]


def kinds_of(names: Iterable[str]) -> Counter[str]:
    """Count file names by their extension, as `Found` names it."""
    from lowzoo.data.pixels.formats import extension

    return Counter(f".{kind}" if (kind := extension(name)) else NO_EXTENSION for name in names)


def counted(count: int, noun: str) -> str:
    """A number and its noun: 1 picture, 2 pictures."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def some_of(names: Iterable[str]) -> str:
    """The first names of a list, for a sentence."""
    names = list(names)
    return ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
