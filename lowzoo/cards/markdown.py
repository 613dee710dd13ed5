"""Tables in Markdown, for cards and for the README."""

from collections.abc import Collection, Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Collection[int] = ()) -> str:
    """A table, one line a row.

    Args:
        header: Names of the columns.
        rows: As many cells each as there are columns.
        numbers: Columns, from 0, that are aligned to the right.
    """
    rule = ["---:" if column in numbers else "---" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, rule, *rows])
