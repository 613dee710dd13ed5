"""What timing gives: results of a model, or of two in turns."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowzoo.base import html
from lowzoo.bench.host.comparison import Comparison
from lowzoo.bench.results.assemble import to_document
from lowzoo.bench.results.lines import comparison_lines, result_lines
from lowzoo.bench.results.schema import BenchResult


@dataclass(frozen=True)
class Latency:
    """Times of one model, a result for each number of threads, or for each back end of each device.

    Args:
        results: The results.
        written: The document that was written.
        interrupted: Whether Ctrl-C ended it before all had come in.
        shower: Gives the lines of the results.
    """

    results: tuple[BenchResult, ...]
    written: Path | None = None
    interrupted: bool = False
    shower: Callable[[Sequence[BenchResult]], Iterator[str]] | None = None

    @property
    def median_ms(self) -> float:
        """Median of the first result, in ms."""
        return self.results[0].statistics.median_ms

    def to_json(self) -> str:
        """One result as it is, several as a set."""
        return to_document(self.results)

    def lines(self) -> Iterator[str]:
        """The lines that the command prints."""
        yield from (self.shower or _one_by_one)(self.results)
        if self.written is not None:
            yield f"Written to {self.written}"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return html.block(self.lines())


@dataclass(frozen=True)
class TimedPair:
    """Two models that were timed in turns.

    Args:
        comparison: The document: samples, ratio and its interval.
        written: The document that was written.
    """

    comparison: Comparison
    written: Path | None = None

    @property
    def ratio(self) -> float:
        """Time of B over time of A."""
        return self.comparison.ratio.ratio

    @property
    def verdict(self) -> str:
        """What the interval says, in words."""
        return self.comparison.ratio.verdict

    def to_json(self) -> str:
        """The document with a final line end."""
        return self.comparison.to_json()

    def lines(self) -> Iterator[str]:
        """The lines that the command prints."""
        yield from comparison_lines(self.comparison)
        if self.written is not None:
            yield f"Written to {self.written}"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return html.block(self.lines())


def _one_by_one(results: Sequence[BenchResult]) -> Iterator[str]:
    for number, result in enumerate(results):
        if number:
            yield ""
        yield from result_lines(result)
