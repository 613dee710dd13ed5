"""Pictures of results: medians with their spread, and accuracy against latency where the catalog knows an accuracy."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.bench.results.protocol import percentile
from lowzoo.bench.results.report import Group, accuracy_of, engine_of, name_of
from lowzoo.bench.results.schema import BenchResult
from lowzoo.io.files import atomic_path
from lowzoo.io.marks import PNG_FIELDS

_COLOURS = ("#0b63ce", "#c1440e", "#6a9c3b", "#7a4fb3", "#1f8a8a", "#b0862a")
_ROW = 0.42


def svg_of(group: Group) -> str:
    """The picture of one device as an SVG element."""
    figure = _figure([group])
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    text = written.getvalue()
    return text[text.index("<svg") :]


def write_png(groups: Sequence[Group], path: Path) -> None:
    """All devices below each other in one picture."""
    figure = _figure(groups)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata=PNG_FIELDS)


def _figure(groups: Sequence[Group]) -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise LowzooError("a report's pictures need matplotlib", "Run `pip install matplotlib`") from error
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    heights = [1.3 + _ROW * max(3, len(group.results)) for group in groups]
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(groups), 1, height_ratios=heights, squeeze=False)
    for (part,), group in zip(parts, groups, strict=True):
        known = [(result, found) for result in group.results if (found := accuracy_of(result))]
        left, right = part.subplots(1, 2, width_ratios=(3, 2)) if known else (part.subplots(), None)
        guard = "" if group.kind == "phone" else "  (a computer: a regression guard, not a phone)"
        part.suptitle(f"{group.title}{guard}", fontsize=11, x=0.01, ha="left")
        _bars(left, group.results)
        if right is not None:
            _accuracies(right, known)
    return figure


def _bars(axes: Any, results: Sequence[BenchResult]) -> None:
    """A row a result: the median as a bar, p10 to p90 as a line, the medians of the repeats as dots."""
    for row, result in enumerate(results):
        ordered = sorted(ms for repeat in result.repeats for ms in repeat.samples_ms)
        median = result.statistics.median_ms
        axes.barh(row, median, height=0.6, color=_COLOURS[0], alpha=0.25)
        axes.plot([percentile(ordered, 10), result.statistics.p90_ms], [row, row], color=_COLOURS[0], linewidth=2)
        medians = [repeat.statistics.median_ms for repeat in result.repeats]
        axes.plot(medians, [row] * len(medians), "o", color=_COLOURS[0], markersize=4)
        axes.annotate(
            f"{median:.2f}",
            (max(median, result.statistics.p90_ms), row),
            (5, 0),
            textcoords="offset points",
            va="center",
        )
    labels = [f"{name_of(result)} {result.model.precision or ''}\n{engine_of(result)}" for result in results]
    axes.set_yticks(range(len(results)), labels, fontsize=7.5)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * max(result.statistics.p90_ms for result in results))
    axes.set_xlabel("ms a run: bar median, line p10 to p90, dots medians of the repeats", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _accuracies(axes: Any, known: Sequence[tuple[BenchResult, tuple[str, float]]]) -> None:
    # Two tasks share no axis: only the one that most results have is drawn.
    tasks = [task for _, (task, _) in known]
    task = max(dict.fromkeys(tasks), key=tasks.count)
    shown = [(result, value) for result, (what, value) in known if what == task]
    engines = list(dict.fromkeys(engine_of(result) for result, _ in shown))
    for place, engine in enumerate(engines):
        own = [(result.statistics.median_ms, value) for result, value in shown if engine_of(result) == engine]
        axes.scatter(*zip(*own, strict=True), label=engine, color=_COLOURS[place % len(_COLOURS)], zorder=3)
    names: dict[str, tuple[float, float]] = {}
    for result, value in shown:
        names.setdefault(name_of(result), (result.statistics.median_ms, value))
    for name, point in names.items():
        axes.annotate(name, point, (6, 6), textcoords="offset points", fontsize=8)
    axes.set_xlim(0, 1.5 * max(result.statistics.median_ms for result, _ in shown))
    axes.margins(y=0.4)
    axes.set_xlabel("median ms", fontsize=8)
    axes.set_ylabel(task if len(task) < 40 else f"{task[:38]}…", fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
