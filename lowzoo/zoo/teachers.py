"""`lowzoo.teachers`: the frozen teachers that the recipes can learn from."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from lowzoo import catalog
from lowzoo.base.errors import LowzooError, near_matches
from lowzoo.base.options import Option
from lowzoo.catalog import TeacherEntry
from lowzoo.zoo.teacher_file import local_file

_HEADER = ("TEACHER", "FAMILY", "ARCHITECTURE", "M", "HEAD", "k-NN", "linear", "LICENCE", "STUDENTS", "FILE")
_NUMBERS = (3, 4, 5, 6)
_LEGEND = (
    "M: million parameters of the backbone. HEAD: prototypes of its own head, or the width of its embedding (-d).",
    "k-NN, linear: ImageNet-1k top-1 in % as published; --json gives the sources and all other figures.",
    "STUDENTS: whether the licence of the weights lets what learned from them be published, and for what use.",
    "FILE: here, or fetched when first used (download), or where to get it is said then (package, link).",
)


@dataclass(frozen=True)
class Teachers:
    """Teachers of the catalog.

    Args:
        entries: What is known of each.
    """

    entries: tuple[TeacherEntry, ...]

    @property
    def names(self) -> list[str]:
        """What `--teacher` takes."""
        return [entry.name for entry in self.entries]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[TeacherEntry]:
        return iter(self.entries)

    def __getitem__(self, name: str) -> TeacherEntry:
        if name not in self.names:
            raise LowzooError(f"no teacher {name!r} here{near_matches(name, self.names)}", "See `lowzoo teachers`")
        return next(entry for entry in self.entries if entry.name == name)

    def as_list(self) -> list[dict[str, Any]]:
        """All facts of each as plain values, and whether its file is on this computer."""
        found = []
        for entry in self.entries:
            path = local_file(entry)
            facts = dataclasses.asdict(entry) | {"here": path is not None, "path": str(path) if path else None}
            found.append(facts)
        return found

    def to_json(self) -> str:
        """`as_list` as a document."""
        return json.dumps(self.as_list(), indent=2) + "\n"

    def lines(self) -> Iterator[str]:
        """The lines that the command prints."""
        rows = [_HEADER, *(_cells(entry) for entry in self.entries)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
        for row in rows:
            words = [
                cell.rjust(width) if column in _NUMBERS else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            yield "  ".join(words).rstrip()
        yield ""
        yield from _LEGEND

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        return f"Teachers({', '.join(self.names)})"

    def _repr_html_(self) -> str:
        from lowzoo.base import html

        return html.table(_HEADER, (_cells(entry) for entry in self.entries)) + html.block(_LEGEND)


def teachers(*, family: Annotated[str | None, Option(metavar="F")] = None) -> Teachers:
    """Show the teachers that `lowzoo train rob` and `lowzoo train seed` know by name.

    A run folder and any timm name are teachers too; a network without a projection head of its own takes
    `--teacher-head fitted`.

    Args:
        family: Only this family of checkpoints.

    Returns:
        The teachers, those of other packages last.

    Raises:
        LowzooError: No such family.
    """
    known = catalog.teachers().values()
    families = list(dict.fromkeys(entry.family for entry in known))
    if family is not None and family not in families:
        raise LowzooError(
            f"unknown family {family}{catalog.near_matches(family, families)}", f"Take one of {', '.join(families)}"
        )
    return Teachers(tuple(entry for entry in known if family in (None, entry.family)))


def _cells(entry: TeacherEntry) -> Sequence[str]:
    return (
        entry.name,
        entry.family,
        _architecture(entry),
        f"{entry.params / 1e6:.1f}",
        _head(entry),
        _figure(entry, "k-NN top-1"),
        _figure(entry, "linear probe top-1"),
        entry.license if entry.license != "NOASSERTION" else "not stated",
        _students(entry),
        "here" if local_file(entry) else "package" if entry.package else "link" if entry.signed else "download",
    )


def _architecture(entry: TeacherEntry) -> str:
    name = entry.architecture
    if entry.patch_size:
        name += f" /{entry.patch_size}"
    return f"{name} x{entry.width}" if entry.width > 1 else name


def _head(entry: TeacherEntry) -> str:
    if not entry.head_included:
        return "none"
    if not entry.has_prototypes:
        return f"{entry.bottleneck_dim}-d"
    return str(entry.head_dim) if entry.head_dim else "own"


def _students(entry: TeacherEntry) -> str:
    if entry.derivatives_may_be_published is None:
        return "not stated"
    if not entry.derivatives_may_be_published:
        return "no"
    return "non-commercial" if "-NC-" in entry.license else "yes"


def _figure(entry: TeacherEntry, task: str) -> str:
    return next((f"{metric.value:.1f}" for metric in entry.metrics if metric.task == task), "-")
