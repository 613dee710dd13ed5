"""`--format all`: a model in every format that is installed, and one table of what came of it.

What fails in one format is told in its row and leaves the other files as they are. A place that cannot be written to
is no failure of a format: it ends the whole.
"""

import dataclasses
import errno
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lowzoo.base import html
from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.next_line import next_line
from lowzoo.export.artifact import Artifact, write_artifact
from lowzoo.export.formats import FORMATS, Format
from lowzoo.export.parity.checker import ParityChecker, real_images
from lowzoo.export.parity.runnable import Runnable, input_of
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.io.files import writable_folder
from lowzoo.system.installed import require
from lowzoo.zoo.resolve import Resolved

ALL = "all"
"""What `--format` takes beside the names of formats."""
_RUNS = 20
_SECONDS = 1.0
_HEAD = ("format", "MB", "s", "rel. error", "min cosine", "k-NN lost", "host ms", "file")
# Of the place itself, so that no other format would fare better.
_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class FormatRow:
    """What came of one format.

    Args:
        format: Name of the format.
        artifact: The file, where one was written.
        seconds: Time that the export took, its check included.
        host_ms: Median of single runs on this computer's CPU; None where nothing here runs the file as it is.
        refused: Why there is no file; empty if there is one.
        remedy: What to do about it.
        missing: Whether that is because a package is not installed, or not for this torch.
        unavailable: Whether that is because the format has nothing of the kind, such as a precision.
    """

    format: str
    artifact: Artifact | None = None
    seconds: float | None = None
    host_ms: float | None = None
    refused: str = ""
    remedy: str = ""
    missing: bool = False
    unavailable: bool = False

    @property
    def failed(self) -> bool:
        """Whether it was tried and is wrong."""
        return self.artifact is None and not self.missing and not self.unavailable


@dataclass(frozen=True)
class Exports:
    """A model in every format.

    Args:
        model: Name of the model, with the tag of its weights.
        precision: Precision of the files.
        threads: Threads that `host_ms` was taken with.
        rows: One for each format.
    """

    model: str
    precision: str
    threads: int
    rows: tuple[FormatRow, ...]

    @property
    def failed(self) -> tuple[FormatRow, ...]:
        """Formats that were tried and gave no file."""
        return tuple(row for row in self.rows if row.failed)

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The files that were written."""
        return tuple(row.artifact for row in self.rows if row.artifact is not None)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        rows = [
            {
                **{field.name: getattr(row, field.name) for field in dataclasses.fields(row)},
                "artifact": None if row.artifact is None else row.artifact.as_dict(),
                "failed": row.failed,
            }
            for row in self.rows
        ]
        return {
            "schema": "lowzoo.exports/1",
            "model": self.model,
            "precision": self.precision,
            "threads": self.threads,
            "rows": rows,
        }

    def to_json(self) -> str:
        """`as_dict` as a document."""
        return json.dumps(self.as_dict(), indent=2, default=str) + "\n"

    def lines(self) -> Iterator[str]:
        """The lines that the command prints."""
        written = self.artifacts
        yield f"{self.model}, {self.precision}: {len(written)} files"
        yield ""
        table = [_HEAD, *(_cells(row) for row in self.rows if row.artifact is not None)]
        widths = [max(len(cells[i]) for cells in table) for i in range(len(_HEAD))]
        for cells in table:
            aligned = [
                cell.ljust(width) if i in (0, len(_HEAD) - 1) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ]
            yield "  ".join(aligned).rstrip()
        yield ""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        yield f"host ms: median of up to {_RUNS} single runs in this process, {threads}; `lowzoo bench FILE` measures"
        if any(artifact.parity.knn_loss is None for artifact in written):
            yield "k-NN lost: `lowzoo check FILE --knn` measures what - leaves open"
        for row in self.failed:
            yield f"FAILED {row.format}: {row.refused}. {row.remedy}"
        for row in self.rows:
            if row.unavailable:
                yield f"Not to be had, {row.format}: {row.refused}. {row.remedy}"
        for row in self.rows:
            if row.missing:
                yield f"Not here, {row.format}: {row.refused}. {row.remedy}"
        for artifact in written:
            for warning in artifact.warnings:
                yield f"Warning, {artifact.spec.format}: {warning}"
        if runs := [artifact.path for artifact in written if not artifact.unchecked]:
            yield ""
            yield next_line(("check", *runs, *(["--cross"] if len(runs) > 1 else [])))

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        rows = [_cells(row) for row in self.rows if row.artifact is not None]
        left = [f"{row.format}: {row.refused}. {row.remedy}" for row in self.rows if row.artifact is None]
        return html.table(_HEAD, rows) + (html.block(left) if left else "")


def export_all(
    resolved: Resolved,
    specs: Mapping[str, ExportSpec | LowzooError],
    out: str | Path | None,
    *,
    force: bool = False,
    unchecked: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Exports:
    """Write a model in each format.

    Args:
        resolved: The network.
        specs: What to write, by format; or why a format has nothing of the kind.
        out: Folder for the files, which is made; the working directory if None.
        force: As for `write_artifact`.
        unchecked: As for `write_artifact`.
        say: Takes a line on what is being done.

    Raises:
        LowzooError: The folder cannot be written to, or is full; or no format has what is asked for.
    """
    folder = Path(out) if out is not None else Path()
    if FORMATS and any(folder.name.endswith(kind.suffix) for kind in FORMATS.specs()):
        raise LowzooError(f"several files do not go into one, {folder}", "Name a folder with --out")
    wanted = [spec for spec in specs.values() if isinstance(spec, ExportSpec)]
    if not wanted:  # whatever is asked for, no format has it
        raise next(spec for spec in specs.values() if isinstance(spec, LowzooError))
    writable_folder(folder)
    checker = ParityChecker(resolved, say=say)
    rows = []
    for name, spec in specs.items():
        kind = FORMATS[name]
        if missing := _missing(kind):
            rows.append(FormatRow(name, refused=missing.message, remedy=missing.remedy, missing=True))
            continue
        if isinstance(spec, LowzooError):
            rows.append(FormatRow(name, refused=spec.message, remedy=spec.remedy, unavailable=True))
            continue
        say(f"exporting to {kind.title}")
        start = time.perf_counter()
        try:
            artifact = write_artifact(resolved, spec, f"{folder}/", checker, force=force, unchecked=unchecked, say=say)
        except LowzooError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _PLACE:
                raise _with_those_there(error, rows) from error.__cause__
            rows.append(FormatRow(name, refused=error.message, remedy=error.remedy))
            continue
        except Exception as error:  # a tool that fails in a way of its own is no reason to lose the other files
            refused = f"{type(error).__name__}: {reason_of(error)}"
            rows.append(FormatRow(name, refused=refused, remedy=f"`--format {name} --debug` shows where; report it"))
            continue
        seconds = time.perf_counter() - start
        try:
            timed = None if artifact.unchecked else host_ms(artifact, resolved)
        except Exception:  # the file is there and checked; only its time is not known
            timed = None
        rows.append(FormatRow(name, artifact, seconds, timed))
    return Exports(resolved.name, wanted[0].precision, torch.get_num_threads(), tuple(rows))


def _with_those_there(error: LowzooError, rows: Sequence[FormatRow]) -> LowzooError:
    """The end of the whole, with what came of the formats before."""
    written = ", ".join(str(row.artifact.path) for row in rows if row.artifact is not None)
    failed = ", ".join(f"{row.format} ({row.refused})" for row in rows if row.failed)
    more = [f"{words} before: {what}" for words, what in (("written", written), ("failed", failed)) if what]
    return LowzooError("; ".join([error.message, *more]), error.remedy)


def host_ms(artifact: Artifact, resolved: Resolved) -> float | None:
    """Median of single runs of a file in its own runtime here, in ms; None where an interpreter stands for it."""
    runnable = artifact.spec.kind.load(artifact.path)
    if "interpreter" in runnable.engine:
        return None
    (image,) = real_images(0, None, resolved.input_size[0])[:1]
    return median_ms(runnable, np.repeat(input_of(image, runnable, resolved)[None], runnable.shape[0] or 1, 0))


def median_ms(runnable: Runnable, rows: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> float:
    """Median of up to 20 runs, or of as many as a second holds, after two that are not counted."""
    times: list[float] = []
    for _ in range(2):
        runnable.run(rows)
    while len(times) < _RUNS and (not times or sum(times) < 1e3 * _SECONDS):
        start = time.perf_counter()
        runnable.run(rows)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def _missing(kind: Format) -> LowzooError | None:
    try:
        for distribution in kind.needs:
            require(distribution, kind.extra)
    except LowzooError as error:
        return error
    return None


def _cells(row: FormatRow) -> tuple[str, ...]:
    artifact = row.artifact
    assert artifact is not None
    parity = artifact.parity
    return (
        row.format,
        f"{artifact.size_bytes / 1e6:.1f}",
        f"{row.seconds:.0f}",
        f"{parity.relative_error:.1e}",
        f"{parity.min_cosine:.6f}",
        "-" if parity.knn_loss is None else f"{parity.knn_loss:+.2f} pt",
        "-" if row.host_ms is None else f"{row.host_ms:.1f}",
        str(artifact.path),
    )
