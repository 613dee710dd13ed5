"""The rows of a run for TensorBoard, where it is installed."""

import importlib.util
from pathlib import Path
from typing import Any

_ALIASES = {"knn": "monitor/knn", "feature_rank": "monitor/feature_rank", "loss": "train/loss"}


class EventLog:
    """Writes numbers of `metrics.jsonl` rows as scalars.

    Args:
        folder: Of the event files; None writes nothing.
        purge_step: Events after this step, of an earlier part of the run, are hidden.
    """

    def __init__(self, folder: Path | None, purge_step: int = 0) -> None:
        self._writer: Any = None
        if folder is not None and importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=purge_step or None)

    def add(self, row: dict[str, Any]) -> None:
        """Write every number of a row at its step."""
        if self._writer is not None:
            for key, value in row.items():
                if key not in ("step", "epoch"):
                    self._writer.add_scalar(_ALIASES.get(key, f"train/{key}"), value, row["step"])

    def close(self) -> None:
        """Write out what is pending."""
        if self._writer is not None:
            self._writer.close()
