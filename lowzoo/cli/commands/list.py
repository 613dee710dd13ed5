"""`lowzoo list`: the models there are, one line for each set of weights."""

import json
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.cards.listing import Row, figure, rows, table
from lowzoo.cli.options.places import file_to_write

_LAST = float("inf")


def _accuracy(word: str) -> Callable[[Row], Any]:
    """Best first; figures on other images than ImageNet cannot be compared and stand after those that are."""

    def key(row: Row) -> Any:
        metric = figure(row, word)
        return (metric is None, metric is not None and "ImageNet-1k" not in metric.data, -metric.value if metric else 0)

    return key


# Best first: accuracy falls, costs and names rise; what is not known stands last.
_SORT: dict[str, Callable[[Row], Any]] = {
    "name": lambda row: (row.entry.name, row.weights.tag),
    "params": lambda row: row.weights.params,
    "gmacs": lambda row: row.weights.gmacs,
    "size": lambda row: row.weights.input_size[1],
    "knn": _accuracy("k-NN"),
    "linear": _accuracy("linear"),
    "ms": lambda row: row.latency.ms if row.latency else _LAST,
}


def list_(
    recipe: Annotated[str | None, typer.Option(help="Only this recipe.", metavar="R")] = None,
    student: Annotated[str | None, typer.Option(help="Only this student.", metavar="S")] = None,
    license: Annotated[str | None, typer.Option(help="Only weights under this licence.", metavar="L")] = None,
    max_params: Annotated[
        float | None, typer.Option(help="Only up to this many million parameters.", metavar="M", min=0)
    ] = None,
    max_ms: Annotated[
        float | None, typer.Option(help="Only up to this latency; needs --on.", metavar="X", min=0)
    ] = None,
    on: Annotated[str | None, typer.Option(help="Show the latency on this device.", metavar="DEVICE")] = None,
    sort: Annotated[str | None, typer.Option(help=f"Sort by one of: {', '.join(_SORT)}.", metavar="KEY")] = None,
    everything: Annotated[bool, typer.Option("--all", help="One line for each set that can be trained, too.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            parser=file_to_write,
            help="Draw accuracy against parameters, or against latency with --on.",
            metavar="FILE.png",
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show the models of the zoo, one line for each set of weights.

    The first line of a model is what its bare name means. Sets of weights that nobody published are counted; --all and
    --json show each.
    """
    models = catalog.models()
    if recipe is not None:
        from lowzoo.train.recipes import RECIPES  # those of other packages, too

        _known(recipe, "recipe", RECIPES.names())
    if student is not None:
        _known(student, "student", {name for entry in models.values() for name in (entry.student, entry.architecture)})
    if sort is not None:
        _known(sort, "sort key", _SORT)
    if on is None and (max_ms is not None or sort == "ms"):
        raise LowzooError("a latency belongs to a device", f"Add --on DEVICE, one of {', '.join(_devices())}")
    if on is not None:
        _known(on, "device", _devices())
    found = [
        row
        for row in rows(on)
        if (recipe is None or row.entry.recipe == recipe)
        and (student is None or student in (row.entry.student, row.entry.architecture))
        and (license is None or row.weights.license.lower() == license.lower())
        and (max_params is None or row.weights.params <= max_params * 1e6)
        and (max_ms is None or (row.latency is not None and row.latency.ms <= max_ms))
    ]
    if sort is not None:
        found.sort(key=_SORT[sort])
    if plot is not None:
        from lowzoo.cards.plot_models import plot_models

        plot_models(found, plot, on)
        print(f"lowzoo: wrote {plot}", file=sys.stderr)
    if json_:
        print(json.dumps([catalog.describe(row.name) for row in found], indent=2))
    elif not found:
        print("lowzoo: no model matches; `lowzoo list` shows all", file=sys.stderr)
    else:
        print(table(found, on, fold=not everything))


def _devices() -> list[str]:
    return list(dict.fromkeys(latency.device for latency in catalog.latencies()))


def _known(word: str, what: str, names: Collection[str]) -> None:
    if word not in names:
        raise LowzooError(
            f"unknown {what} {word}{catalog.near_matches(word, names)}", f"Take one of {', '.join(sorted(names))}"
        )
