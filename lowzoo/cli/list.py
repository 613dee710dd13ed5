"""`lowzoo list`: the models there are, one line for each set of weights."""

import json
import sys
from collections.abc import Callable, Collection
from typing import Annotated, Any

import typer

from lowzoo import catalog
from lowzoo.catalog import ModelEntry, WeightsEntry
from lowzoo.errors import LowzooError

Row = tuple[ModelEntry, WeightsEntry]

# Best first: accuracy falls, costs and names rise; what is not known stands last.
_SORT: dict[str, Callable[[Row], Any]] = {
    "name": lambda row: (row[0].name, row[1].tag),
    "params": lambda row: row[1].params,
    "gmacs": lambda row: row[1].gmacs,
    "size": lambda row: row[1].input_size[1],
    "knn": lambda row: -row[1].headline.value if row[1].headline else float("inf"),
}


def list_(
    recipe: Annotated[str | None, typer.Option(help="Only this recipe.", metavar="R")] = None,
    student: Annotated[str | None, typer.Option(help="Only this student.", metavar="S")] = None,
    license: Annotated[str | None, typer.Option(help="Only weights under this licence.", metavar="L")] = None,
    max_params: Annotated[
        float | None, typer.Option(help="Only up to this many million parameters.", metavar="M", min=0)
    ] = None,
    sort: Annotated[str | None, typer.Option(help=f"Sort by one of: {', '.join(_SORT)}.", metavar="KEY")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show the models of the zoo, one line for each set of weights.

    The first line of a model is what its bare name means.
    """
    if recipe is not None:
        _known(recipe, "recipe", catalog.recipes())
    if student is not None:
        _known(student, "student", {name for entry in catalog.models().values() for name in _student_names(entry)})
    rows = [
        (entry, weights)
        for entry in catalog.models().values()
        for weights in entry.weights
        if (recipe is None or entry.recipe == recipe)
        and (student is None or student in _student_names(entry))
        and (license is None or weights.license.lower() == license.lower())
        and (max_params is None or weights.params <= max_params * 1e6)
    ]
    if sort is not None:
        rows.sort(key=_SORT[_known(sort, "sort key", _SORT)])
    if json_:
        print(json.dumps([catalog.describe(f"{entry.name}.{weights.tag}") for entry, weights in rows], indent=2))
        return
    if not rows:
        print("lowzoo: no model matches; `lowzoo list` shows all", file=sys.stderr)
        return
    _print_table(rows)


def _student_names(entry: ModelEntry) -> tuple[str, str]:
    return entry.student, entry.architecture


def _known(word: str, what: str, names: Collection[str]) -> str:
    if word not in names:
        raise LowzooError(
            f"unknown {what} {word}{catalog.near_matches(word, names)}", f"Take one of {', '.join(sorted(names))}"
        )
    return word


def _print_table(rows: list[Row]) -> None:
    header = ("MODEL", "M", "GMAC", "px", "k-NN", "WEIGHTS", "LICENCE")
    cells = [
        (
            f"{entry.name}.{weights.tag}",
            f"{weights.params / 1e6:.1f}",
            f"{weights.gmacs:.2f}",
            str(weights.input_size[1]),
            f"{weights.headline.value:.1f}" if weights.headline else "-",
            weights.origin if weights.available else "to train",
            weights.license or "-",
        )
        for entry, weights in rows
    ]
    widths = [max(len(line[column]) for line in [header, *cells]) for column in range(len(header))]
    for line in [header, *cells]:
        name, *numbers = (
            cell.ljust(width) if column in (0, 5, 6) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print(f"{name} {' '.join(numbers[:4])}  {'  '.join(numbers[4:])}".rstrip())
    print()
    print("M: million parameters. GMAC: 10^9 multiply-accumulates at px x px pixels.")
    print("k-NN: top-1 in %; `lowzoo info MODEL` says on what, measured by whom.")
    if any(not weights.available for _, weights in rows):
        print("to train: not published; `lowzoo info MODEL` gives the command that makes them.")
