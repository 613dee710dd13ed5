"""Settings that a run may change on its way, and the record of those that it did.

A run can go on from a checkpoint with another learning rate, precision, loss weight or length: what the checkpoint
holds keeps its meaning, and which images come in which order and views stays a function of the seed. Everything else
would make the state meaningless (the networks, the optimiser and its groups, queues and prototypes), or another run of
it (images, views, seed, batch, teacher), and is refused by name.

Each change stands in `changes.json` and, once the run is finished, in `run.json`: with the step from which on it holds.
`config.toml` has what holds now.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.io.files import write_text
from lowzoo.train.recipes import RECIPES
from lowzoo.train.recipes.base import LENGTHS, TrainConfig
from lowzoo.train.settings.config import validate

FloatArray = NDArray[np.float64]

_FILE = "changes.json"

# Of the machine and the record alone: they change neither what is computed nor, beyond its rounding, the result.
FREE = frozenset(
    {
        *("device", "onednn", "workers", "ahead", "fused", "channels_last"),
        *("checkpoint_steps", "keep_checkpoints", "log", "guard", "chosen"),
    }
)

_LENGTH_AND_RATE = {*LENGTHS, "lr", "lr_batch", "lr_start", "lr_end", "warmup", "schedule", "update"}
_OPTIMISER = {"weight_decay", "weight_decay_end", "momentum", "betas", "clip_grad", "precision", "compile", "drop_path"}
_WATCHING = {"monitor_epochs", "monitor_times", "monitor_bank", "monitor_queries", "max_bad_share"}
_READING = {"decode"}
_SHARED = frozenset(_LENGTH_AND_RATE | _OPTIMISER | _WATCHING | _READING | {"compatible_weight"})


@dataclass(frozen=True)
class Change:
    """A setting that was changed on the way.

    Args:
        step: The first step (from 0) that the new value holds for.
        key: Key in the configuration.
        before: The old value.
        after: The new value.
        rate: For a change of length: the learning rate that the run had reached, where the new schedule takes over.
    """

    step: int
    key: str
    before: Any
    after: Any
    rate: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values; `rate` only where there is one."""
        return {key: value for key, value in asdict(self).items() if key != "rate" or value is not None}

    def __str__(self) -> str:
        none = (0,) if self.key in LENGTHS else ()
        before, after = ("absent" if x is None or x in none else x for x in (self.before, self.after))
        return f"{self.key} {before} -> {after} from step {self.step} on"


def changeable(recipe: str) -> frozenset[str]:
    """Settings of a recipe that may change on the way, those of `FREE` aside."""
    return _SHARED | RECIPES[recipe].changeable


def changed_keys(old: TrainConfig, new: TrainConfig) -> list[str]:
    """Keys whose values differ, those of `FREE` aside."""
    before, after = old.model_dump(), new.model_dump()
    if before["recipe"] != after["recipe"]:
        return ["recipe"]
    return [key for key in before if key not in FREE and before[key] != after[key]]


def refuse_other_run(folder: Path, old: TrainConfig, new: TrainConfig) -> None:
    """Refuse to go on under settings that make another run.

    Raises:
        LowzooError: By name, with those that can be changed.
    """
    allowed = changeable(old.recipe)
    fixed = [key for key in changed_keys(old, new) if key not in allowed]
    if fixed:
        raise LowzooError(
            f"the run in {folder} was started with other values of {', '.join(fixed)}, which hold for all of a run",
            "Leave them out to go on (learning rate, length, precision, temperatures and weights may change), or start "
            "another run with --out",
        )


def merge_changes(
    history: Sequence[Change], old: TrainConfig, new: TrainConfig, step: int, rate: float | None
) -> list[Change]:
    """The record of a run that goes on at `step` under `new`.

    Args:
        history: Changes of the run so far. Those beyond `step`, made before the run went back, hold from `step` on.
        old: What held last.
        new: What is to hold.
        step: The next step to be made.
        rate: Learning rate reached, None before the first step.
    """
    before, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    fresh = [Change(step, key, before[key], after[key]) for key in changed_keys(old, new)]
    merged: dict[tuple[int, str], Change] = {}
    for change in [*(replace(change, step=min(change.step, step)) for change in history), *fresh]:
        place = change.step, change.key
        first = merged.get(place, change)
        merged[place] = replace(change, before=first.before, rate=rate if change.key in LENGTHS else None)
        if change.step < step:
            merged[place] = replace(merged[place], rate=change.rate)
    return [change for change in merged.values() if change.before != change.after]


def write_changes(folder: Path, changes: Sequence[Change]) -> None:
    """Write the record; a run without changes has no file."""
    if changes or (folder / _FILE).exists():
        write_text(folder / _FILE, json.dumps([change.as_dict() for change in changes], indent=2) + "\n")


def read_changes(folder: Path) -> list[Change]:
    """The record of the run in `folder`.

    Raises:
        LowzooError: It is damaged.
    """
    file = folder / _FILE
    if not file.exists():
        return []
    try:
        return [Change(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise LowzooError(f"{file} is damaged: {error}", "Start the run again in another folder") from None


def first_config(config: TrainConfig, changes: Sequence[Change]) -> TrainConfig:
    """The configuration that the run was started with."""
    first = {change.key: change.before for change in reversed(changes)}
    fields = config.model_dump(mode="json") | first
    return validate({key: value for key, value in fields.items() if value is not None})


def last_extension(changes: Sequence[Change]) -> tuple[int, float] | None:
    """Step and learning rate at which the run was last given another length, if it was."""
    found = [(change.step, change.rate) for change in changes if change.key in LENGTHS and change.rate is not None]
    return max((step, rate) for step, rate in found if rate is not None) if found else None


def rewarm(rates: FloatArray, step: int, reached: float) -> FloatArray:
    """A schedule that a run enters at `step`, coming from the rate `reached`.

    The schedule is that of a run which had its new length from the beginning. Over the first tenth of the steps that
    are left, the rate goes over to it linearly, as a network that has settled at a small rate is re-warmed in continual
    pre-training (Ibrahim et al., arXiv 2403.08763).
    """
    entered = rates.astype(np.float64)
    ramp = math.ceil((len(entered) - step) / 10)
    share = np.arange(1, ramp + 1) / (ramp + 1)
    entered[step : step + ramp] = (1 - share) * reached + share * entered[step : step + ramp]
    return entered
