"""The curves of a detector's run as one PNG: its losses, the learning rate and the throughput over the steps."""

from pathlib import Path
from typing import Any

from lowzoo.base.printable import printable
from lowzoo.io.files import atomic_path
from lowzoo.io.marks import PNG_FIELDS

_PANELS = (
    ("loss", {"loss": ("", "#1f5fa8")}),
    ("loss of proposals", {"loss_objectness": ("object or not", "#b0413e"), "loss_rpn_box_reg": ("box", "#d59b2d")}),
    (
        "loss of regions",
        {
            "loss_classifier": ("class", "#b0413e"),
            "loss_box_reg": ("box", "#d59b2d"),
            "loss_mask": ("mask", "#5b7f2b"),
        },
    ),
    ("learning rate", {"lr": ("", "#5b7f2b")}),
    ("images/s", {"images_per_s": ("", "#6b4c9a")}),
    ("share of waiting for images", {"data_wait": ("", "#2a7f7f")}),
)


def draw_losses(rows: list[dict[str, Any]], out: Path, title: str) -> None:
    """Draw rows of `metrics.jsonl` to a PNG; nothing without a row, or without Matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return
    if not rows:
        return
    figure = Figure(figsize=(13, 6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    # A name may hold what Matplotlib would take for a formula.
    figure.suptitle(printable(title), parse_math=False)
    for axis, (label, lines) in zip(figure.subplots(2, 3).flat, _PANELS, strict=True):
        for key, (name, colour) in lines.items():
            points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
            if points:
                steps, values = zip(*points, strict=True)
                marker = "o" if len(points) < 30 else None
                axis.plot(steps, values, color=colour, marker=marker, markersize=4, label=name or None)
        if len(axis.lines) > 1:
            axis.legend(fontsize=8)
        axis.set_xlabel("step")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format="png", metadata=PNG_FIELDS)
