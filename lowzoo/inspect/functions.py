"""`lowzoo.data_report`: what lowzoo sees in images before anyone trains on them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Unpack

from lowzoo.base.errors import LowzooError
from lowzoo.base.options import Model, Option, Picture, Progress, Reading, Workers

if TYPE_CHECKING:
    from lowzoo.data.source import ImageSource
    from lowzoo.inspect.inspection import Inspection
    from lowzoo.inspect.report import Report


@dataclass(frozen=True)
class DataReport:
    """What was seen.

    Args:
        inspection: The facts, and the pictures that they are of.
        out: The page that was written.
        sheet: The picture that was written.
    """

    inspection: "Inspection"
    out: Path | None = None
    sheet: Path | None = None

    @property
    def report(self) -> "Report":
        """Every number, see `lowzoo.inspect.report.Report`."""
        return self.inspection.report

    @property
    def problems(self) -> list[str]:
        """What is wrong or odd, a line each, the gravest first."""
        from lowzoo.inspect.words import findings

        return list(findings(self.report))

    def draw_sheet(self, path: str | Path) -> None:
        """Draw some pictures of each class, and the problems, framed, as a PNG.

        Args:
            path: The file.

        Raises:
            LowzooError: The place cannot be written to.
        """
        from lowzoo.inspect.sheet import draw_sheet
        from lowzoo.inspect.shown import choose

        draw_sheet(choose(self.inspection), Path(path))

    def as_dict(self) -> dict[str, Any]:
        """Every number and finding as plain values."""
        from lowzoo.inspect.words import in_words

        return self.report.as_dict() | in_words(self.report)

    def to_json(self) -> str:
        """`as_dict` as a document."""
        return json.dumps(self.as_dict(), indent=2) + "\n"

    def lines(self) -> Iterator[str]:
        """The lines that the command prints."""
        from lowzoo.inspect.words import lines

        yield from lines(self.report)
        for path in (self.out, self.sheet):
            if path is not None:
                yield f"Written to {path}"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        return f"DataReport({self.report.name}, {self.report.pictures} pictures, {len(self.problems)} problems)"

    def _repr_html_(self) -> str:
        from lowzoo.base import html

        return html.block(self.lines()) + html.picture(self.draw_sheet, "pictures of each class, and the problems")


def data_report(
    images: Annotated["str | Path | Sequence[Any] | ImageSource | None", Option(metavar="[SRC]")] = None,
    *,
    model: Model = "rob_vit_tiny",
    features: bool = True,
    split: Annotated[Sequence[str], Option(metavar="NAME")] = (),
    out: Annotated[
        str | Path | None, Option(metavar="FILE.html", read="lowzoo.cli.options.places:file_to_write")
    ] = None,
    sheet: Picture = None,
    workers: Workers = 0,
    progress: Progress = None,
    **reading: Unpack[Reading],
) -> DataReport:
    """Report what there is: splits, classes, formats, sizes, broken, constant and alike pictures, and leaks.

    Alike pictures are those of the same bytes and those that a model's features and small copies find nearly the same,
    also re-encoded, resized or mirrored. A picture of the validation that training sees too is named as a leak.

    Args:
        images: Folder of images, parquet or tars; the embedded sample set if absent. In Python also a list of PIL
            images, arrays or tensors, or an `ImageSource`.
        model: Whose features find nearly same pictures, and below whose input a picture counts as small.
        features: Look for nearly same pictures, or for the same bytes only.
        split: Only this split; may be given several times.
        out: Report as one page, with pictures, that works offline.
        sheet: Some pictures of each class, and the problems, framed.
        workers: Threads; 0 takes all cores.
        progress: Takes each line of what is being done, such as `print`; None is silent.
        **reading: How images are found and read, see `lowzoo.base.options.Reading`.

    Returns:
        The facts, and what was written.

    Raises:
        LowzooError: Nothing usable there, no such split, a stream, no such model, or a place that cannot be written to.
    """
    page, drawing = (None if path is None else Path(path) for path in (out, sheet))
    for path, endings in ((page, (".html", ".htm")), (drawing, (".png",))):
        if path is not None and path.suffix.lower() not in endings:
            raise LowzooError(f"{path} does not end in {endings[0]}", f"Name a file that ends in {endings[0]}")
    from lowzoo.base.printable import printable
    from lowzoo.base.progress import told

    with told(progress) as say:
        say(f"Data: {printable(_words(images))}")
        from lowzoo.data.reading.options import source_options
        from lowzoo.inspect.inspection import inspect
        from lowzoo.io.files import writable_folder, write_text

        for path in (page, drawing):
            if path is not None:
                writable_folder(path.parent)
        splits = (split,) if isinstance(split, str) else tuple(split)
        seen = inspect(
            images, source_options(reading), splits=splits, model=model if features else None, workers=workers
        )
        found = DataReport(seen, page, drawing)
        if page is not None:
            from lowzoo.inspect.page import to_html
            from lowzoo.inspect.shown import choose

            write_text(page, to_html(seen.report, choose(seen)))
        if drawing is not None:
            found.draw_sheet(drawing)
    return found


def _words(images: Any) -> str:
    if images is None:
        return "the sample set embedded in lowzoo (drawings; name a folder to look at your own)"
    return str(images) if isinstance(images, (str, Path)) else getattr(images, "name", "given images")
