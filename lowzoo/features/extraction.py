"""How features are computed, as one value that every protocol takes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from lowzoo.data.source import ImageSource
from lowzoo.features.features import Features, Precision, extract_features
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.system.processes import ALONE, Processes
from lowzoo.zoo.resolve import Resolved


@dataclass(frozen=True, slots=True)
class Extraction:
    """Arguments of `extract_features`: see there."""

    device: str | torch.device = "cpu"
    workers: int = 0
    precision: Precision = "fp32"
    progress: bool = True
    batch_size: int = 64
    among: Processes = ALONE

    def run(
        self, resolved: Resolved, sources: Sequence[ImageSource], spec: Preprocessing | None = None
    ) -> list[Features]:
        """Features of each source."""
        return [extract_features(resolved, source, spec=spec, **self.arguments()) for source in sources]

    def arguments(self) -> dict[str, Any]:
        """These arguments by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
