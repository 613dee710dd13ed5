"""Which pictures a report shows: some of each class, and some of each problem, framed and named."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lowzoo.base.printable import printable
from lowzoo.base.progress import progress_bar
from lowzoo.data.pixels.decode import BadImage
from lowzoo.inspect.inspection import Inspection
from lowzoo.inspect.report import Item

SIDE = 96
_EACH_CLASS, _MOST_CLASSES, _MOST_PROBLEMS = 4, 60, 24


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture with its caption.

    Args:
        item: Which.
        caption: Below it.
        problem: Whether it is framed as one.
    """

    item: Item
    caption: str
    problem: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """What stands under one heading.

    Args:
        title: The heading.
        remark: What is left out, or empty.
        rows: Tiles that belong together: a group of alike pictures, or a class.
    """

    title: str
    remark: str
    rows: tuple[tuple[Tile, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What page and sheet show.

    Args:
        sections: Problems first, then the classes.
        images: By split and index, fitting into `SIDE` squared; None for a picture that cannot be read.
    """

    sections: tuple[Section, ...]
    images: dict[tuple[str, int], Image.Image | None]

    def image(self, tile: Tile) -> Image.Image | None:
        """The picture of a tile."""
        return self.images[tile.item.split, tile.item.index]


def choose(inspection: Inspection, *, progress: bool = True) -> Shown:
    """Choose what to show, and decode it again, small."""
    found = tuple(_sections(inspection))
    tiles = [tile for section in found for row in section.rows for tile in row]
    images: dict[tuple[str, int], Image.Image | None] = {}
    with progress_bar("drawing pictures", len(tiles), wanted=progress) as advance:
        for tile in tiles:
            place = tile.item.split, tile.item.index
            if place not in images:
                images[place] = _thumbnail(inspection, tile.item)
            advance(1)
    return Shown(found, images)


def _sections(inspection: Inspection) -> Iterator[Section]:
    report = inspection.report
    for leak in report.leaks:
        yield _section(
            f"In {leak.split} and in {leak.other}",
            [
                (
                    Tile(one, f"{one.split}: {_file(one)}", True),
                    Tile(two, f"{two.split}: {_file(two)} ({_alike(cosine, i < leak.exact)})", True),
                )
                for i, (one, two, cosine) in enumerate(leak.pairs)
            ],
        )
    for title, groups in (
        ("Alike, with different classes", report.conflicts),
        ("Alike", [group for group in report.groups if len(group.labels) < 2 and _in_one_split(group.items)]),
    ):
        if groups:
            yield _section(
                title,
                [
                    tuple(
                        Tile(
                            item,
                            f"{item.label or 'no class'}: {_file(item)} "
                            f"({_alike(group.cosine, group.kind == 'exact')})",
                            True,
                        )
                        for item in group.items
                    )
                    for group in groups
                ],
            )
    singles = (
        ("Cannot be read", [Tile(item, f"{_file(item)}: {reason}", True) for item, reason in report.unreadable]),
        ("Of one colour throughout", [Tile(item, _file(item), True) for item in report.constant]),
        ("With numbers clipped", [Tile(item, _file(item), True) for item in report.clipped]),
        (
            "Named as another format",
            [Tile(item, f"{_file(item)} is {found}", True) for item, _, found in report.misnamed],
        ),
    )
    for title, tiles in singles:
        if tiles:
            yield _section(title, [(tile,) for tile in tiles])
    yield from _classes(inspection)


def _thumbnail(inspection: Inspection, item: Item) -> Image.Image | None:
    try:
        decoded = inspection.sources[item.split].decoded(item.index, _divisor)
    except BadImage:
        return None
    image = Image.fromarray(decoded.pixels)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image


def _divisor(height: int, width: int) -> int:
    return next((by for by in (8, 4, 2) if max(height, width) >= 2 * by * SIDE), 1)


def _section(title: str, rows: list[tuple[Tile, ...]]) -> Section:
    shown: list[tuple[Tile, ...]] = []
    tiles = 0
    for row in rows:
        if tiles >= _MOST_PROBLEMS:
            break
        shown.append(row[:_MOST_PROBLEMS])
        tiles += len(shown[-1])
    left = len(rows) - len(shown)
    cut = sum(len(row) > _MOST_PROBLEMS for row in rows[: len(shown)])
    remarks = [f"{left:,} more are in the JSON document"] * bool(left) + [
        f"{cut:,} groups have more pictures than are shown"
    ] * bool(cut)
    return Section(f"{title}: {len(rows):,}", "; ".join(remarks), tuple(shown))


def _classes(inspection: Inspection) -> Iterator[Section]:
    """Evenly spaced readable pictures of each class of each split."""
    broken = {(item.split, item.index) for item, _ in inspection.report.unreadable}
    for split, source in inspection.sources.items():
        members: dict[int, list[int]] = defaultdict(list)
        labels = source.labels.tolist() if source.labels is not None else [-1] * len(source)
        for index, label in enumerate(labels):
            if (split, index) not in broken:
                members[label].append(index)
        total = Counter(labels)
        order = sorted(members)
        rows = []
        for label in order[:_MOST_CLASSES]:
            own = members[label]
            name = "no class" if label < 0 else source.class_names[label] if source.class_names else f"class {label}"
            count = _EACH_CLASS if len(order) > 1 else 4 * _EACH_CLASS
            picked = np.unique(np.linspace(0, len(own) - 1, min(count, len(own))).astype(int)).tolist()
            items = [Item(split, own[i], source.where(own[i]), None if label < 0 else name) for i in picked]
            rows.append(
                tuple(
                    Tile(item, f"{printable(name)}: {total[label]:,}" if not i else "") for i, item in enumerate(items)
                )
            )
        left, broken_classes = len(order) - len(rows), len(total) - len(order)
        yield Section(
            f"{split}, by class" if source.labels is not None else split,
            "; ".join(
                [f"{left:,} more classes are not shown"] * bool(left)
                + [f"{broken_classes:,} classes have no picture that can be read"] * bool(broken_classes)
            ),
            tuple(rows),
        )


def _file(item: Item) -> str:
    return printable(item.name.rpartition("/")[2])


def _in_one_split(items: tuple[Item, ...]) -> bool:
    """Groups across splits stand among the leaks, except for the copies that one split holds."""
    splits = [item.split for item in items]
    return len(set(splits)) < len(splits)


def _alike(cosine: float, exact: bool) -> str:
    return "same bytes" if exact else f"cosine {cosine:.2f}"
