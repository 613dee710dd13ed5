"""The one JSON schema of an evaluation, which the catalog and the cards read.

It holds what decides the figures and nothing else: no date, no machine, so that equal evaluations give equal files.
"""

from typing import Any, Literal

import timm
import torch
from pydantic import BaseModel, ConfigDict

import lowzoo
from lowzoo.data.source import ImageSource
from lowzoo.resolve import Resolved


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFacts(_Strict):
    """Which network: see `lowzoo.resolve.Resolved`."""

    name: str
    revision: str
    recipe: str
    license: str
    trained: bool

    @classmethod
    def of(cls, resolved: Resolved) -> "ModelFacts":
        """Copy what identifies the network."""
        return cls(**{name: getattr(resolved, name) for name in cls.model_fields})


class DataFacts(_Strict):
    """Which images: how many were used, how many could not be read."""

    name: str
    fingerprint: str
    images: int
    skipped: int

    @classmethod
    def of(cls, source: ImageSource, skipped: int) -> "DataFacts":
        """Identify a source of which `skipped` images could not be read."""
        return cls(name=source.name, fingerprint=source.fingerprint(), images=len(source) - skipped, skipped=skipped)


class Figure(_Strict):
    """One measured figure: mean over seeds, and the standard deviation where there are several."""

    metric: str
    unit: str
    mean: float
    std: float | None = None
    seeds: int = 1


class EvaluationResult(_Strict):
    """What `lowzoo eval ... --json` prints."""

    schema_version: Literal[1] = 1
    protocol: str
    model: ModelFacts
    data: dict[str, DataFacts]
    settings: dict[str, Any]
    figures: tuple[Figure, ...]
    versions: dict[str, str]

    def to_json(self) -> str:
        """Write the document with a final line end."""
        return self.model_dump_json(indent=2) + "\n"


def versions() -> dict[str, str]:
    """Tell the versions that decide a figure."""
    return {"lowzoo": lowzoo.__version__, "torch": str(torch.__version__), "timm": timm.__version__}
