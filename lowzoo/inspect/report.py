"""What was seen, as plain values: every number of the text, the page and the JSON document stands here."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lowzoo.base.printable import printable

# A class with this many times the pictures of another one is worth a word.
IMBALANCE = 10


@dataclass(frozen=True, slots=True)
class Item:
    """One picture.

    Args:
        split: Its split.
        index: Its place in the split.
        name: Its path, or file and row.
        label: Its class in words; None where it has none.
    """

    split: str
    index: int
    name: str
    label: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures that are alike.

    Args:
        kind: "exact" for the same bytes, else "near".
        cosine: How alike each is at least to its nearest in the group; 1 for the same bytes.
        items: Two or more pictures.
    """

    kind: str
    cosine: float
    items: tuple[Item, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of the group."""
        return tuple(sorted({item.label for item in self.items if item.label is not None}))


@dataclass(frozen=True, slots=True)
class Leak:
    """Pictures of one split that another one holds too.

    Args:
        split: Whose pictures are counted, the one that judges.
        other: Where they are found too.
        exact: How many have the same bytes there.
        near: How many others are nearly the same as a picture there.
        pairs: Each of them with its twin there and their cosine, exact ones first.
    """

    split: str
    other: str
    exact: int
    near: int
    pairs: tuple[tuple[Item, Item, float], ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """Numbers of pixels: the smallest, the median, the largest."""

    smallest: int
    median: int
    largest: int


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """One split. Formats, modes and sizes are of the pictures that can be read.

    Args:
        name: Name of the split.
        pictures: All of them.
        readable: Those that can be read.
        classes: Pictures of each class that has any, in words; None for a set without classes.
        empty_classes: Classes that the data name and that have no picture.
        without_class: Pictures that have none, where others have.
        formats: Pictures of each format, by content.
        modes: Pictures of each mode.
        width: In pixels.
        height: In pixels.
        shorter_sides: Pictures by their shorter side, in steps of two.
        aspects: Pictures by width to height.
        turned: Pictures whose camera noted another orientation than upright.
        animated: Pictures of several frames, of which the first counts.
        small: Pictures whose shorter side is below the crop's.
        copies: Pictures with the bytes of an earlier one of this split.
        near_copies: Further pictures that are nearly the same as another one of this split.
        intensity: What the numbers of pictures with more than 8 bits mean.
    """

    name: str
    pictures: int
    readable: int
    classes: Mapping[str, int] | None
    empty_classes: tuple[str, ...]
    without_class: int
    formats: Mapping[str, int]
    modes: Mapping[str, int]
    width: Spread | None
    height: Spread | None
    shorter_sides: Mapping[str, int]
    aspects: Mapping[str, int]
    turned: int
    animated: int
    small: int
    copies: int
    near_copies: int | None
    intensity: str

    @property
    def imbalance(self) -> float:
        """Pictures of the largest class by those of the smallest; 1 without classes."""
        return max(self.classes.values()) / min(self.classes.values()) if self.classes else 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """A set of images as lowzoo sees it.

    Args:
        name: Name of the set.
        word: How the user named it; None for the embedded one, and for pictures that a program holds.
        embedded: Whether it is the embedded one.
        all_splits: Names of all its splits, those that were not looked at included.
        chosen: How its images were asked to be found and read, where that is not the default.
        found: Lines about what lies there: files, what was left out, notes.
        files: Files, rows or members of any kind.
        left_out: How many of each kind are no pictures.
        splits: Its splits.
        crop: Side in pixels of the model's input, which a picture should have at least.
        orientation: "exif" where pictures are turned as their camera noted, else "stored".
        features: How nearly same pictures were looked for; None where they were not.
        unreadable: Pictures that cannot be read, with the reason.
        constant: Pictures whose pixels are all the same.
        clipped: Pictures with numbers beyond the range that becomes 0 to 255.
        misnamed: Pictures whose extension promises another format, with both.
        groups: Same and nearly same pictures, within and between splits.
        leaks: By pairs of splits.
        conflicts: The groups whose pictures have different classes.
        lacking: For each split with classes, those that another split has and it lacks, by that other split.
    """

    name: str
    word: str | None
    found: tuple[str, ...]
    files: int
    left_out: Mapping[str, int]
    splits: tuple[SplitFacts, ...]
    crop: int
    orientation: str
    features: Mapping[str, Any] | None
    unreadable: tuple[tuple[Item, str], ...]
    constant: tuple[Item, ...]
    clipped: tuple[Item, ...]
    misnamed: tuple[tuple[Item, str, str], ...]
    groups: tuple[Group, ...]
    leaks: tuple[Leak, ...]
    conflicts: tuple[Group, ...]
    lacking: tuple[tuple[str, str, tuple[str, ...]], ...]
    embedded: bool = False
    all_splits: tuple[str, ...] = ("train",)
    chosen: Mapping[str, str] = field(default_factory=dict)

    @property
    def pictures(self) -> int:
        """All pictures."""
        return sum(split.pictures for split in self.splits)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, texts printable."""
        found = _plain(dataclasses.asdict(self))
        return {"pictures": self.pictures, **found}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
