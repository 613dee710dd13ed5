"""The curves of a run as one PNG: loss, monitors, learning rate and throughput over the steps."""

from pathlib import Path
from typing import Any

from lowzoo.base.printable import printable
from lowzoo.io.files import atomic_path
from lowzoo.io.marks import PNG_FIELDS


def draw_curves(rows: list[dict[str, Any]], out: Path, title: str) -> None:
    """Draw rows of `metrics.jsonl` to a PNG.

    Args:
        rows: Training rows hold `step`, `loss`, `lr`, `images_per_s`; monitor rows hold `step` and
            what was measured.
        out: The PNG.
        title: Over the picture.
    """
    # A figure without pyplot needs no display and leaves no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3).flat
    # A name may hold what Matplotlib would take for a formula.
    figure.suptitle(printable(title), parse_math=False)
    panels = [
        ("loss (nats)", {"loss": ("", "#1f5fa8")}),
        ("k-NN top-1 (%)", {"knn": ("", "#b0413e")}),
        (
            "without labels (%)",
            {"teacher_neighbours": ("neighbours as the teacher's", "#b0413e"), "own_view": ("own view", "#d59b2d")},
        ),
        ("learning rate", {"lr": ("", "#5b7f2b")}),
        ("images/s", {"images_per_s": ("", "#6b4c9a")}),
        ("effective rank of the features (RankMe)", {"rankme": ("", "#2a7f7f")}),
    ]
    for axis, (label, lines) in zip(axes, panels, strict=True):
        for key, (name, colour) in lines.items():
            points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
            if points:
                steps, values = zip(*points, strict=True)
                marker = "o" if len(points) < 30 else None
                axis.plot(steps, values, color=colour, marker=marker, markersize=4, label=name or None)
        if not axis.lines:
            axis.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axis.transAxes)
        elif len(lines) > 1:
            axis.legend(fontsize=8)
        axis.set_xlabel("step")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format="png", metadata=PNG_FIELDS)
