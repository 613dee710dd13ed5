"""What an evaluation gives: the figures, where they were written, and a picture of the mistakes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowzoo.base import html
from lowzoo.data.source import ImageSource
from lowzoo.evaluate.result import DataFacts, EvaluationResult, Figure, Scored, percent_right
from lowzoo.features.approximate import Approximation
from lowzoo.preprocess.input_facts import size_text

_ODD = {"constant": "of one colour throughout", "clipped": "with numbers beyond the range that is shown"}


@dataclass(frozen=True)
class Evaluation:
    """Figures of a network on a set of images.

    Args:
        result: The document, `lowzoo eval --json` prints it.
        written: Files that were written.
        scored: What one classifier said of each test image; None where the protocol does not keep it.
        class_names: What the class numbers mean, where they have names.
    """

    result: EvaluationResult
    written: tuple[Path, ...] = ()
    scored: Scored | None = None
    class_names: tuple[str, ...] | None = None

    @property
    def figures(self) -> tuple[Figure, ...]:
        """What was measured, the main figure first."""
        return self.result.figures

    @property
    def top1(self) -> float:
        """The main figure: accuracy in per cent."""
        return self.figures[0].mean

    def to_json(self) -> str:
        """The document with a final line end."""
        return self.result.to_json()

    def draw_confusion(self, path: str | Path) -> None:
        """Draw which classes are taken for which, as a PNG.

        Raises:
            LowzooError: The place cannot be written to.
        """
        from lowzoo.evaluate.confusion import draw

        if self.scored is None:
            raise ValueError(f"{self.result.protocol} keeps no predictions")
        right = percent_right(self.scored.predictions, self.scored.truth)
        title = f"{self.result.model.name}, {self.scored.classifier}: {right:.1f} % right"
        draw(self.scored.truth, self.scored.predictions, self.class_names, Path(path), title=title)

    def lines(self) -> Iterator[str]:
        """The lines that the command prints."""
        yield from _report(self.result)
        for path in self.written:
            yield f"Written to {path}"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        shown = html.block(self.lines())
        return shown if self.scored is None else shown + html.picture(self.draw_confusion, "which classes are confused")


def data_line(facts: DataFacts) -> str:
    """How many images were read, what could not be, and what was odd."""
    line = f"{facts.images} images of {facts.name} ({facts.fingerprint}) read"
    if facts.skipped:
        line += f", {facts.skipped} cannot be read: {_some(facts.unreadable, facts.skipped)}"
    for oddity, count in facts.odd.items():
        line += f", {count} {_ODD[oddity]}: {_some(facts.odd_images[oddity], count)}"
    return line


def found_lines(*sources: ImageSource) -> list[str]:
    """What sources were made from, each line once."""
    from lowzoo.base.printable import printable

    return [printable(line) for line in dict.fromkeys(line for source in sources for line in source.found.lines())]


def _some(names: Sequence[str], count: int) -> str:
    return ", ".join(names) + (", ..." if count > len(names) else "")


def _report(result: EvaluationResult) -> Iterator[str]:
    model = result.model
    size = result.settings.get("preprocessing", {}).get("input_size")
    yield f"Model: {model.name} ({model.revision})" + (f" at {size_text(tuple(size[1:]))} px" if size else "")
    if bank := result.settings.get("bank_model"):
        side = size_text(tuple(result.settings["bank_preprocessing"]["input_size"][1:]))
        yield f"Bank by: {bank['name']} ({bank['revision']}) at {side} px; queries by the model's map into that space"
    for part, facts in result.data.items():
        yield f"{part.capitalize()}: {data_line(facts)}"
    if any(facts.orientation == "stored" for facts in result.data.values()):
        yield "Photographs were left as they are stored, not turned as their cameras noted"
    searched = result.settings.get("approximation") or {}
    for name, each in ({"": searched} if "index" in searched else searched).items():
        yield f"Neighbours{f' of {name}' if name else ''}: {Approximation(**each)}"
    if chosen := result.settings.get("chosen"):
        yield f"Chosen: {', '.join(f'{name} {value}' for name, value in chosen.items() if value is not None)}"
    yield ""
    width = max(len(figure.metric) for figure in result.figures)
    unit = result.figures[0].unit
    yield f"{'':{width}} {unit:>8}   spread  seeds  95 % of test sets"
    for figure in result.figures:
        spread = f"{figure.std:8.2f}" if figure.std is not None else f"{'-':>8}"
        low_high = "{:.1f} to {:.1f}".format(*figure.interval95) if figure.interval95 else "-"
        yield f"{figure.metric:{width}} {figure.mean:8.2f} {spread} {figure.seeds:6}  {low_high}"
