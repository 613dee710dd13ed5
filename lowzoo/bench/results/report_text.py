"""`lowzoo bench report FILE...`: results as text, as a page, as a picture, or as rows for the catalog."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lowzoo.base.errors import LowzooError

SUFFIXES = (".html", ".png", ".toml")


def report(files: Sequence[Path], out: Path | None, say: Callable[[str], None] = print) -> None:
    """Read results, and write what the suffix of `out` says.

    Args:
        files: What `lowzoo bench --out` wrote.
        out: .html is a page, .png a picture, .toml rows for lowzoo/catalog/latencies.toml; a table if None.
        say: Takes lines.
    """
    from lowzoo.bench.results.report import (
        COLUMNS,
        PUBLISHED,
        REFERENCE_COLUMNS,
        cells,
        read_groups,
        reference_cells,
        references,
        remarks,
        to_catalog,
        to_html,
    )
    from lowzoo.io.files import write_text

    if out is not None and out.suffix not in SUFFIXES:
        raise LowzooError(f"a report cannot be written as {out.name}", f"Name a file with {', '.join(SUFFIXES)}")
    groups = read_groups(files)
    if out is None:
        for group in groups:
            say(f"{group.kind}: {group.title}")
            for line in _aligned([COLUMNS, *(cells(result) for result in group.results)], 3):
                say(line)
            for remark in remarks(group):
                say(f"  Note: {remark}")
            say("")
        if published := references(groups):
            say(f"{PUBLISHED}:")
            for line in _aligned([REFERENCE_COLUMNS, *(reference_cells(row) for row in published)], 4):
                say(line)
            for source in dict.fromkeys(f"{row.protocol}: {row.source}" for row in published):
                say(f"  Source: {source}")
        return
    if out.suffix == ".toml":
        write_text(out, to_catalog(groups))
        say(f"Written to {out}; append it to lowzoo/catalog/latencies.toml, then run `lowzoo cards`")
        return
    from lowzoo.bench.results.report_figure import svg_of, write_png

    if out.suffix == ".html":
        write_text(out, to_html(groups, [svg_of(group) for group in groups]))
    else:
        write_png(groups, out)
    say(f"Written to {out}")


def _aligned(rows: Sequence[tuple[str, ...]], words: int) -> Iterator[str]:
    """Lines of a table: the first columns are words, the others numbers."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        texts = (
            cell.ljust(width) if place < words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield f"  {'  '.join(texts)}".rstrip()
