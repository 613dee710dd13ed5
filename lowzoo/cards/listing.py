"""The zoo as rows, and as a table for a terminal of 80 columns."""

from collections.abc import Iterator
from dataclasses import dataclass

from lowzoo import catalog
from lowzoo.catalog import LatencyEntry, Metric, ModelEntry, WeightsEntry


@dataclass(frozen=True)
class Row:
    """One set of weights.

    Args:
        entry: Its model.
        weights: The set.
        latency: On the device that was asked for; None if no one published or measured any.
    """

    entry: ModelEntry
    weights: WeightsEntry
    latency: LatencyEntry | None = None

    @property
    def name(self) -> str:
        """`model.tag`."""
        return f"{self.entry.name}.{self.weights.tag}"


def rows(device: str | None = None) -> list[Row]:
    """Every set of weights, in the catalog's order, with its latency on a device."""
    return [
        Row(entry, weights, latency_on(entry, weights, device) if device else None)
        for entry in catalog.models().values()
        for weights in entry.weights
    ]


def latency_on(entry: ModelEntry, weights: WeightsEntry, device: str) -> LatencyEntry | None:
    """The lowest latency of a model's architecture on a device, in float as its figures are and at its size of images.

    On a device with measurements of our own these alone count: they are never mixed with what others published.
    """
    measured = any(row.device == device and not row.is_reference for row in catalog.latencies())
    found = [
        row
        for row in catalog.latencies_of(entry)
        if row.device == device and row.is_reference != measured
        if row.precision == "float" and row.size == weights.input_size[1]
    ]
    return min(found, key=lambda row: row.ms, default=None)


def figure(row: Row, word: str) -> Metric | None:
    """The model's own figure for a column (`k-NN`, `linear`)."""
    return row.weights.own_figure(word)


def table(found: list[Row], device: str | None = None, *, fold: bool = True) -> str:
    """The rows as text.

    Args:
        found: At least one.
        device: Whose latency is shown.
        fold: Count the sets of a model that can only be trained, instead of showing each.
    """
    header = ("MODEL", "M", "ms" if device else "GMAC", "px", "k-NN", "lin.", "LICENCE")
    cells = list(_folded(found, device) if fold else (_cells(row, device) for row in found))
    widths = [max(len(line[column]) for line in [header, *cells]) for column in range(len(header))]
    last = len(header) - 1
    lines = []
    for line in [header, *cells]:
        name, *numbers = (
            cell.ljust(width) if column in (0, last) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        lines.append(f"{name} {' '.join(numbers)}".rstrip())
    return "\n".join([*lines, "", *_legend(found, device)])


def _folded(found: list[Row], device: str | None) -> Iterator[tuple[str, ...]]:
    counted = set()
    for row in found:
        if row.weights.origin != "unpublished":
            yield _cells(row, device)
        elif row.entry.name not in counted:
            counted.add(row.entry.name)
            count = sum(other.entry is row.entry and other.weights.origin == "unpublished" for other in found)
            _, *numbers, _ = _cells(row, device)
            yield row.name if count == 1 else f"{row.entry.name} ({count} sets)", *numbers, "to train"


def _cells(row: Row, device: str | None) -> tuple[str, ...]:
    weights = row.weights
    cost = f"{weights.gmacs:.2f}" if not device else f"{row.latency.ms:g}" if row.latency else "-"
    return (
        row.name,
        f"{weights.params / 1e6:.{1 if weights.params < 1e7 else 0}f}",
        cost,
        str(weights.input_size[1]),
        _accuracy(figure(row, "k-NN")),
        _accuracy(figure(row, "linear")),
        weights.license if weights.available else "to train" if weights.origin == "unpublished" else "no file",
    )


def _accuracy(metric: Metric | None) -> str:
    if metric is None:
        return "-"
    return f"{metric.value:.1f}{'' if 'ImageNet-1k' in metric.data else '*'}"


def _legend(found: list[Row], device: str | None) -> Iterator[str]:
    yield "M: million parameters. k-NN, lin.: top-1 in %; * not on ImageNet-1k."
    if device is None:
        yield "GMAC: 10^9 multiply-accumulates at px x px pixels."
    else:
        shown = [row.latency for row in found if row.latency]
        label = shown[0].device_label if shown else device
        reference = all(row.is_reference for row in shown)
        sources = "published by others, `lowzoo info` says how measured" if reference else "measured by `lowzoo bench`"
        yield f"ms: float, with classifier, on {label};"
        yield f"    {sources}."
    if any(row.weights.origin == "unpublished" for row in found):
        yield "to train: not published; --all shows each, `lowzoo info` gives its command."
    if any(row.weights.origin == "unavailable" for row in found):
        yield "no file: announced by the authors, but its address leads elsewhere."
    yield "`lowzoo info MODEL` says where figures come from, and how to load the model."
