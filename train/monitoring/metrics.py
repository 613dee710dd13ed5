"""The rows of a run: a line each in `metrics.jsonl`, and what trackers are given beside them."""

import json
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.io.files import write_text
from lowzoo.train.monitoring.trackers import MONITORS, Trackers


class MetricsLog:
    """Adds rows of numbers, each with its `step`.

    Args:
        file: The `metrics.jsonl`.
        trackers: Get each row, too.
    """

    def __init__(self, file: Path, trackers: Trackers) -> None:
        self._file = file
        self._trackers = trackers
        self._measured = {row["step"] for row in read_metrics(file) if MONITORS & row.keys()}

    def measured(self, step: int) -> bool:
        """Whether there is a row of the monitor at a step."""
        return step in self._measured

    def add(self, row: dict[str, Any]) -> None:
        """Write a row.

        Raises:
            LowzooError: The disk takes no more.
        """
        if MONITORS & row.keys():
            self._measured.add(row["step"])
        self._trackers.add(row)
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise LowzooError(
                f"cannot write {self._file}: {error.strerror}", "Free some space, then go on with --resume"
            ) from error

    def close(self) -> None:
        """Write out what is pending."""
        self._trackers.close()


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.jsonl`; a last line that was cut off by a kill is left out."""
    rows: list[dict[str, Any]] = []
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return rows


def forget_after(file: Path, step: int | None) -> None:
    """Leave out the rows after a step, which will be written again; None leaves out all."""
    rows = [row for row in read_metrics(file) if step is not None and row["step"] <= step]
    write_text(file, "".join(json.dumps(row) + "\n" for row in rows))
