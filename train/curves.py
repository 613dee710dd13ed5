"""The curves of a run as one PNG: loss, k-NN, learning rate and throughput over the steps."""

from pathlib import Path
from typing import Any

from lowzoo.files import atomic_path
from lowzoo.marks import PNG_FIELDS
from lowzoo.printable import printable


def draw_curves(rows: list[dict[str, Any]], out: Path, title: str) -> None:
    """Draw rows of `metrics.jsonl` to a PNG.

    Args:
        rows: Training rows hold `step`, `loss`, `lr`, `images_per_s`; monitor rows hold `step` and `knn`.
        out: The PNG.
        title: Over the picture.
    """
    # A figure without pyplot needs no display and leaves no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2).flat
    # A name may hold what Matplotlib would take for a formula.
    figure.suptitle(printable(title), parse_math=False)
    panels = [
        ("loss", "loss (nats)", "#1f5fa8"),
        ("knn", "k-NN top-1 (%), k = 20", "#b0413e"),
        ("lr", "learning rate", "#5b7f2b"),
        ("images_per_s", "images/s", "#6b4c9a"),
    ]
    for axis, (key, label, colour) in zip(axes, panels, strict=True):
        points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
        if points:
            steps, values = zip(*points, strict=True)
            axis.plot(steps, values, color=colour, marker="o" if len(points) < 30 else None, markersize=4)
        else:
            axis.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axis.transAxes)
        axis.set_xlabel("step")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format="png", metadata=PNG_FIELDS)
