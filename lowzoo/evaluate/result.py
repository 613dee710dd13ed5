"""The one JSON schema of an evaluation, which the catalog and the cards read.

It holds what decides the figures and how long they took; without `seconds` equal evaluations give equal documents.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import timm
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from lowzoo.base.printable import printable
from lowzoo.catalog import Metric
from lowzoo.data.source import ImageSource
from lowzoo.features.features import Features
from lowzoo.zoo.digest import weights_digest
from lowzoo.zoo.resolve import Resolved

_Z95 = 1.959964
_MOST_NAMED = 5


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFacts(_Strict):
    """Which network: see `lowzoo.zoo.resolve.Resolved`; `weights` identifies its tensors by 16 hexadecimal digits."""

    name: str
    revision: str
    recipe: str
    license: str
    trained: bool
    weights: str = ""

    @classmethod
    def of(cls, resolved: Resolved) -> "ModelFacts":
        """Copy what identifies the network."""
        return cls(
            name=resolved.name,
            revision=resolved.revision,
            recipe=resolved.recipe,
            license=resolved.license,
            trained=resolved.trained,
            weights=weights_digest(resolved.model)[:16],
        )


class DataFacts(_Strict):
    """Which images.

    Args:
        name: Name of the source.
        fingerprint: Fingerprint of the pixels, see `ImageSource.fingerprint`.
        images: Images that were used.
        skipped: Images that could not be read.
        unreadable: The first of those.
        odd: How many images are constant, or hold numbers beyond the range that is shown.
        odd_images: The first of each.
        orientation: "exif" where pictures were turned as their camera noted, else "stored".
        intensity: What the numbers of pictures with more than 8 bits mean.
        files: Files of any kind where the images lie.
        left_out: How many of them are no pictures, by kind.
        notes: What else was found.
    """

    name: str
    fingerprint: str
    images: int
    skipped: int
    unreadable: tuple[str, ...] = ()
    odd: dict[str, int] = {}
    odd_images: dict[str, tuple[str, ...]] = {}
    orientation: str = ""
    intensity: str = ""
    files: int = 0
    left_out: dict[str, int] = {}
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: ImageSource, unreadable: Sequence[str], odd: Mapping[str, Sequence[str]] = {}) -> "DataFacts":
        """Identify a source; `unreadable` names all of its images that could not be read, `odd` the odd ones."""
        odd = {oddity: names for oddity, names in odd.items() if names}
        return cls(
            name=printable(source.name),
            fingerprint=source.fingerprint(),
            images=len(source) - len(unreadable),
            skipped=len(unreadable),
            unreadable=tuple(map(printable, unreadable[:_MOST_NAMED])),
            odd={oddity: len(names) for oddity, names in odd.items()},
            odd_images={oddity: tuple(map(printable, names[:_MOST_NAMED])) for oddity, names in odd.items()},
            orientation=source.rules.orientation,
            intensity=str(source.rules.intensity),
            files=source.found.files,
            left_out={printable(kind): count for kind, count in source.found.left_out},
            notes=tuple(map(printable, source.found.notes)),
        )

    @classmethod
    def of_features(cls, source: ImageSource, features: Features) -> "DataFacts":
        """Identify a source whose features were computed."""
        return cls.of(source, features.unreadable(source), features.oddities(source))


class Figure(_Strict):
    """One measured figure: mean over seeds, and the standard deviation where there are several.

    Args:
        metric: What was measured.
        unit: Unit of mean, std and interval95.
        mean: Over the seeds.
        std: Standard deviation over the seeds (of the sample, n - 1).
        seeds: How many there are.
        n: Images that were classified.
        interval95: What 95 of 100 other test sets of this size would give for the mean (Wilson's score interval).
    """

    metric: str
    unit: str
    mean: float
    std: float | None = None
    seeds: int = 1
    n: int | None = None
    interval95: tuple[float, float] | None = None

    @classmethod
    def accuracy(cls, metric: str, values: Sequence[float], n: int) -> "Figure":
        """Sum up accuracies in per cent, one a seed, each over `n` images."""
        mean = statistics.fmean(values)
        return cls(
            metric=metric,
            unit="%",
            mean=round(mean, 4),
            std=round(statistics.stdev(values), 4) if len(values) > 1 else None,
            seeds=len(values),
            n=n,
            interval95=_wilson(mean / 100, n),
        )


class EvaluationResult(_Strict):
    """What `lowzoo eval ... --json` prints.

    Args:
        protocol: knn, linear, lowshot, finetune, transfer, detect or segment.
        preset: Whose settings.
        model: Which network.
        data: Which images, by their part in the protocol.
        settings: Everything else that decides the figures.
        figures: What was measured, the main figure first.
        versions: Versions of the packages that decide a figure.
        seconds: The evaluation took; None in a document that is to be compared.
    """

    schema_version: Literal[1] = 1
    protocol: str
    preset: str = ""
    model: ModelFacts
    data: dict[str, DataFacts]
    settings: dict[str, Any]
    figures: tuple[Figure, ...]
    versions: dict[str, str]
    seconds: float | None = None

    def to_json(self) -> str:
        """Write the document with a final line end."""
        return self.model_dump_json(indent=2) + "\n"

    def metrics(self, script: str) -> tuple[Metric, ...]:
        """Give the figures as the catalog holds them; `script` is what measured them."""
        data = "; ".join(f"{part}: {facts.name}, {facts.images} images" for part, facts in self.data.items())
        protocol = f"{self.protocol}, {self.preset}" if self.preset else self.protocol
        return tuple(
            Metric(
                task=figure.metric,
                value=figure.mean,
                data=data,
                protocol=protocol,
                source="measured here",
                script=script,
                unit=figure.unit,
            )
            for figure in self.figures
        )


@dataclass(frozen=True, slots=True)
class Scored:
    """A result and what it was counted from.

    Args:
        result: The figures.
        truth: (M,) classes of the test images.
        predictions: (M,) what one classifier said.
        classifier: Which one, where the result sums up several.
    """

    result: EvaluationResult
    truth: Tensor
    predictions: Tensor
    classifier: str


def versions(*others: str) -> dict[str, str]:
    """Tell the versions that decide a figure; `others` are further distributions that took part."""
    found = {"lowzoo": version("lowzoo"), "torch": str(torch.__version__), "timm": timm.__version__}
    for name in others:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def percent_right(predictions: Tensor, truth: Tensor) -> float:
    """Fraction of equal classes, in per cent."""
    return 100 * (predictions == truth).double().mean().item()


def _wilson(fraction: float, n: int) -> tuple[float, float]:
    centre = (fraction + _Z95**2 / (2 * n)) / (1 + _Z95**2 / n)
    half = _Z95 / (1 + _Z95**2 / n) * math.sqrt(fraction * (1 - fraction) / n + _Z95**2 / (4 * n**2))
    return round(100 * max(0.0, centre - half), 2), round(100 * min(1.0, centre + half), 2)
