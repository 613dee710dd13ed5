"""Accuracy of the zoo's weights against what they cost, as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.cards.listing import Row, figure
from lowzoo.catalog import Metric
from lowzoo.io.files import atomic_path
from lowzoo.io.marks import PNG_FIELDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float, Row]

_COLOURS = {"rob": "#c1440e", "seed": "#1f6f8b", "sslight": "#6a9c3b"}


def plot_models(found: list[Row], path: Path, device: str | None = None) -> None:
    """Draw linear-probe top-1 on ImageNet-1k against parameters, or against latency on a device, with the frontier.

    Args:
        found: Rows to draw; those without the figure or the cost are left out.
        path: Picture to write; its suffix is the format.
        device: What the latencies of the rows were measured on; parameters stand on the axis if None.

    Raises:
        LowzooError: Nothing to draw, an unknown format, or matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise LowzooError("a plot needs matplotlib", "Install it: pip install 'lowzoo[train]'") from error
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    points = [(cost, metric.value, row) for row in found if (metric := _metric(row)) and (cost := _cost(row, device))]
    if not points:
        raise LowzooError(
            "none of these models has both a linear top-1 on ImageNet-1k and the cost to draw it against",
            "Loosen the filters, or name another device",
        )
    drawing = Figure(figsize=(10, 6), dpi=150, layout="constrained")
    axes = drawing.subplots()
    for recipe in dict.fromkeys(row.entry.recipe for _, _, row in points):
        own = [(cost, value) for cost, value, row in points if row.entry.recipe == recipe]
        axes.scatter(
            *zip(*own, strict=True), color=_COLOURS.get(recipe), label=catalog.recipes()[recipe].label, zorder=3
        )
    low, high = min(cost for cost, _, _ in points) / 1.3, max(cost for cost, _, _ in points) * 2.4
    frontier = _frontier([(cost, value) for cost, value, _ in points])
    frontier.append((high, frontier[-1][1]))  # what costs more and is not better stands below it
    axes.step(*zip(*frontier, strict=True), where="post", color="0.35", linewidth=1, label="frontier", zorder=2.5)
    _name_points(axes, points)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = sorted({cost for cost, _, _ in points})
    axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks], rotation=45)
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set_xlabel(_x_label(points, device))
    axes.set_ylabel("linear probe, ImageNet-1k validation top-1 (%)")
    axes.set_title("Figures as published; `lowzoo info MODEL` names the source of each")
    axes.set_axisbelow(True)
    axes.grid(color="0.92")
    axes.legend(loc="lower right", frameon=False)
    try:
        with atomic_path(path) as temporary:
            # Other formats know other fields, and are no pictures of a data set.
            drawing.savefig(temporary, metadata=PNG_FIELDS if path.suffix.lower() == ".png" else None)
    except ValueError as error:
        raise LowzooError(f"{path} is no picture format ({error})", "Name a file that ends in .png or .svg") from error


def _metric(row: Row) -> Metric | None:
    metric = figure(row, "linear")
    return metric if metric and "ImageNet-1k" in metric.data else None


def _cost(row: Row, device: str | None) -> float | None:
    """Million parameters, or milliseconds on the device."""
    if device is None:
        return row.weights.params / 1e6
    return row.latency.ms if row.latency else None


def _frontier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no cheaper one reaches, cheapest first."""
    frontier: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not frontier or value > frontier[-1][1]:
            frontier.append((cost, value))
    return frontier


def _name_points(axes: "Axes", points: list[Point]) -> None:
    from matplotlib.patheffects import withStroke

    for cost, value, row in points:
        axes.annotate(
            row.entry.name if row.weights is row.entry.default else row.name,
            (cost, value),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=6.5,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )


def _x_label(points: list[Point], device: str | None) -> str:
    if device is None:
        return "parameters (million)"
    latencies = [row.latency for _, _, row in points if row.latency]
    kinds = "published by others" if all(row.is_reference for row in latencies) else "measured here"
    return f"latency (ms, fastest {kinds}) on {latencies[0].device_label}"
