"""What a training function of the package gives: where the run lies and what it has measured."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowzoo.base.errors import LowzooError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class TrainResult:
    """A finished run, or the report of one that was only timed.

    Args:
        folder: Run folder: weights, head, curves.png, metrics.jsonl, config.toml.
        recipe: Name of the recipe.
        facts: Content of `run.json`, or of `bench.json`; empty in a process that is not the first of several.
        minutes: What the call took, everything included.
        timed: Whether it was only timed; the folder may hold another run.
    """

    folder: Path
    recipe: str
    facts: Mapping[str, Any] = field(repr=False)
    minutes: float
    timed: bool = False
    _absolute: Path = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # The current directory may be another one later.
        object.__setattr__(self, "_absolute", self.folder.absolute())

    @property
    def steps(self) -> int:
        """Steps of the whole run, over all its parts; 0 where some were timed and none are kept."""
        return 0 if self.timed else int(self.facts.get("steps", 0))

    @property
    def loss(self) -> float | None:
        """Loss of the last logged step, in nats."""
        return self._figure("loss")

    @property
    def knn_before(self) -> float | None:
        """k-NN top-1 in per cent at initialisation; None where it was not measured."""
        return self._figure("knn_init")

    @property
    def knn_after(self) -> float | None:
        """k-NN top-1 in per cent at the end; None where it was not measured."""
        return self._figure("knn")

    @property
    def better(self) -> bool | None:
        """Whether the network is better than at the start; None where the images are too few to tell."""
        found: bool | None = self._measured("better")
        return found

    @property
    def verdict(self) -> str:
        """What the monitors say at the end, in a sentence; empty where nothing was measured twice."""
        return str(self._measured("verdict") or "")

    def model(self) -> "nn.Module":
        """The trained backbone with its weights, headless, in eval mode.

        Raises:
            LowzooError: The run has left no weights.
        """
        from lowzoo.zoo.resolve import load_model

        if self.timed:
            raise LowzooError("steps were only timed, and left no weights", "Train without bench")
        if not (self._absolute / "model.safetensors").is_file():
            raise LowzooError(f"{self._absolute} holds no weights", "Train to the end, or look where it was moved to")
        return load_model(f"local-dir:{self._absolute}").model.eval()

    def to_json(self) -> str:
        """The facts as a JSON document."""
        return json.dumps(dict(self.facts))

    def lines(self) -> list[str]:
        """What to tell a reader, a line each."""
        if self.timed:
            return [f"{self.recipe}: timed, see {self.folder / 'bench.json'}"]
        loss = f", loss {self.loss:.3f}" if self.loss is not None else ""
        first = f"{self.facts['method']}: {self.facts['student']}, {self.steps} steps{loss}, {self.minutes:.1f} minutes"
        return [first, *([self.verdict] if self.verdict else []), f"Everything is in {self.folder}"]

    def _figure(self, key: str) -> float | None:
        found = self._measured(key)
        return None if found is None else float(found)

    def _measured(self, key: str) -> Any:
        return (self.facts.get("result") or {}).get(key)

    def _repr_html_(self) -> str:
        """Those lines and the curves, for a notebook."""
        from lowzoo.base.html import block, picture

        curves = self._absolute / "curves.png"
        shown = block(self.lines())
        if self.timed or not curves.is_file():
            return shown
        return shown + picture(lambda file: file.write_bytes(curves.read_bytes()), f"curves of {self.folder.name}")
