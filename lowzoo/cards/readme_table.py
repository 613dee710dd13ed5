"""The README's table of models, made from the catalog between two marks and never edited by hand."""

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.cards.markdown import table
from lowzoo.catalog import Metric, ModelEntry, WeightsEntry

BEGIN = "<!-- models: written by `lowzoo cards` -->"
END = "<!-- models end -->"


def render_table() -> str:
    """One line for each set of weights that can be had, and one for all that can be trained."""
    header = ("weights", "M params", "GMAC", "px", "k-NN", "linear", "licence")
    rows = [
        _row(entry, weights) for entry in catalog.models().values() for weights in entry.weights if weights.available
    ]
    planned = [
        (entry, sum(weights.origin == "unpublished" for weights in entry.weights))
        for entry in catalog.models().values()
    ]
    to_train = ", ".join(f"`{entry.name}` ({count})" for entry, count in planned if count)
    return (
        f"{table(header, rows, numbers=range(1, 6))}\n\n"
        "Top-1 in % on ImageNet-1k, as published or measured here; \\* on other images. The model's card names "
        f"protocol and source of each.\nSets that can be trained and are not published: {to_train}."
    )


def with_table(text: str, name: str) -> str:
    """The text with the table between its marks.

    Raises:
        LowzooError: The marks are missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise LowzooError(f"{name} has no marks for the table of models", f"Add the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{render_table()}\n{END}{after}"


def _row(entry: ModelEntry, weights: WeightsEntry) -> tuple[str, ...]:
    return (
        f"[`{entry.name}{'' if weights is entry.default else '.' + weights.tag}`](model_cards/{entry.name}.md)",
        f"{weights.params / 1e6:.1f}",
        f"{weights.gmacs:.2f}",
        str(weights.input_size[1]),
        _top1(weights.own_figure("k-NN")),
        _top1(weights.own_figure("linear")),
        weights.license,
    )


def _top1(metric: Metric | None) -> str:
    if metric is None:
        return ""
    return f"{metric.value:.1f}{'' if 'ImageNet-1k' in metric.data else chr(92) + '*'}"
