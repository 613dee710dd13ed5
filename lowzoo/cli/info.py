"""`lowzoo info MODEL`: everything the catalog knows of one model."""

import json
import textwrap
from collections.abc import Iterator
from typing import Annotated

import typer

from lowzoo import catalog
from lowzoo.catalog import Metric, ModelEntry, TeacherEntry, WeightsEntry

_WIDTH = 80
_INDENT = 14


def info(
    model: Annotated[str, typer.Argument(help="Zoo name, with or without a tag.", metavar="MODEL")],
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show everything the catalog knows of MODEL.

    How it was made and from what, how to load it, its figures with their source, its licence and what to cite.
    """
    entry, weights = catalog.find(model)
    if json_:
        print(json.dumps(catalog.describe(model), indent=2))
        return
    for heading, lines in _sections(entry, weights):
        print(heading)
        for name, text in lines:
            print(_wrapped(name, text))
        print()
    print(catalog.recipes()[entry.recipe].citation)


def _wrapped(name: str, text: str) -> str:
    if not name:
        return f"    {text}"  # code, to be copied as it is
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=f"  {name:<{_INDENT}}",
        subsequent_indent=" " * (2 + _INDENT),
        break_on_hyphens=False,
        break_long_words=False,
    )


def _sections(entry: ModelEntry, weights: WeightsEntry) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    name = f"{entry.name}.{weights.tag}"
    recipe = catalog.recipes()[entry.recipe]
    channels, height, width = weights.input_size
    yield (
        name,
        [
            ("what", weights.summary),
            ("recipe", f"{recipe.label}, {recipe.title} (arXiv {recipe.arxiv})"),
            ("student", f"{entry.student}, timm's {entry.architecture}"),
            ("feature", f"{entry.feature_dim} numbers: {entry.feature}"),
            ("size", f"{weights.params / 1e6:.2f} M parameters, {weights.gmacs:.2f} GMAC"),
            ("input", f"{channels} x {height} x {width}, {weights.interpolation}, crop {weights.crop_pct:g}"),
            *[("note", note) for note in entry.notes],
            ("other tags", ", ".join(tag for tag in entry.tags if tag != weights.tag) or "none"),
        ],
    )
    if weights.available:
        loading = [
            ("", "import lowzoo, timm"),
            ("", f'model = timm.create_model("lowzoo/{_shortest(entry, weights)}", pretrained=True)'),
        ]
    else:
        loading = [("weights", "not published; make them with"), ("", weights.train)]
    yield "Load", [*loading, *([] if entry.stock else [("note", "needs lowzoo: not exactly timm's network")])]
    yield "Provenance", list(_provenance(weights, catalog.teacher(weights.teacher)))
    yield (
        "Figures",
        [(_owner(metric), metric_line(metric)) for metric in weights.metrics]
        or [("none", "nobody measured or published any")],
    )
    yield (
        "Licence and citation",
        [
            ("weights", weights.license or "none: there are no published weights"),
            *([("derivatives", "allowed" if weights.derivatives else "not allowed")] if weights.license else []),
            ("cite", f"{recipe.authors}, {recipe.year}:"),
        ],
    )


def _provenance(weights: WeightsEntry, teacher: TeacherEntry) -> Iterator[tuple[str, str]]:
    yield "objective", weights.objective
    yield "teacher", f"{teacher.name}: {teacher.architecture}, {teacher.training} ({teacher.license})"
    yield "head", "the teacher's own" if weights.head == "own" else weights.head
    if weights.extension:
        yield "extension", weights.extension
    yield "labels", "none used" if weights.label_free else "not label-free: labels trained the teacher"
    images = f", {weights.images:,} photographs" if weights.images else ""
    yield "data", f"{weights.data}{images}"
    if weights.epochs:
        yield "epochs", str(weights.epochs)
    if weights.available and weights.train:
        yield "made by", weights.train
    for note in weights.notes:
        yield "note", note
    yield "source", weights.source


def _shortest(entry: ModelEntry, weights: WeightsEntry) -> str:
    return entry.name if weights is entry.default else f"{entry.name}.{weights.tag}"


def _owner(metric: Metric) -> str:
    return metric.of or "this model"


def metric_line(metric: Metric) -> str:
    """`k-NN top-1 31.2 % (k = 20, ...) on ...; measured here, benchmarks/...`."""
    source = f"{metric.source}, {metric.script}" if metric.script else metric.source
    return f"{metric.task} {metric.value:g} {metric.unit} ({metric.protocol}) on {metric.data}; {source}"
