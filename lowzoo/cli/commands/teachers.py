"""`lowzoo teachers`: the frozen teachers that the recipes can learn from, one line for each."""

import dataclasses
import json
from typing import Annotated

import typer

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.catalog import TeacherEntry


def teachers(
    family: Annotated[str | None, typer.Option(help="Only this family of checkpoints.", metavar="F")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show the teachers that `lowzoo train rob` and `lowzoo train seed` know by name.

    A run folder and any timm name are teachers too; a network without a projection head of its own takes
    `--teacher-head fitted`.
    """
    families = list(dict.fromkeys(entry.family for entry in catalog.teachers().values()))
    if family is not None and family not in families:
        raise LowzooError(
            f"unknown family {family}{catalog.near_matches(family, families)}", f"Take one of {', '.join(families)}"
        )
    entries = [entry for entry in catalog.teachers().values() if family in (None, entry.family)]
    if json_:
        print(json.dumps([_facts(entry) for entry in entries], indent=2))
    else:
        _print_table(entries)


def _facts(entry: TeacherEntry) -> dict[str, object]:
    from lowzoo.zoo.teacher_file import local_file

    path = local_file(entry)
    return dataclasses.asdict(entry) | {"here": path is not None, "path": str(path) if path else None}


def _print_table(entries: list[TeacherEntry]) -> None:
    from lowzoo.zoo.teacher_file import local_file

    header = ("TEACHER", "FAMILY", "ARCHITECTURE", "M", "HEAD", "k-NN", "linear", "LICENCE", "STUDENTS", "FILE")
    cells = [
        (
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
        for entry in entries
    ]
    widths = [max(len(line[column]) for line in [header, *cells]) for column in range(len(header))]
    for line in [header, *cells]:
        words = [
            cell.rjust(width) if column in (3, 4, 5, 6) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(words).rstrip())
    print()
    print(
        "M: million parameters of the backbone. HEAD: prototypes of its own head, or the width of its embedding (-d)."
    )
    print("k-NN, linear: ImageNet-1k top-1 in % as published; --json gives the sources and all other figures.")
    print("STUDENTS: whether the licence of the weights lets what learned from them be published, and for what use.")
    print("FILE: here, or fetched when first used (download), or where to get it is said then (package, link).")


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
