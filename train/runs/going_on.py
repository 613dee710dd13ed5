"""A run that goes on under other settings: what has changed, and the length that it has now."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.train.optim.updates import learning_rates
from lowzoo.train.recipes.base import LENGTHS, TrainConfig
from lowzoo.train.runs import folder as run_folder
from lowzoo.train.runs.result import Worked
from lowzoo.train.settings.changes import Change, changed_keys, first_config, merge_changes, read_changes
from lowzoo.train.settings.length import Length, read_segments


def go_on(
    folder: Path, config: TrainConfig, length: Length, per_epoch: int, state: Mapping[str, Any] | None
) -> tuple[Length, list[Change]]:
    """The length, and the record of changed settings with those that this part of the run begins with.

    Args:
        folder: Run folder, with the configuration that held until now.
        config: The one that holds from now on.
        length: Length by it and by what the run has written down.
        per_epoch: Steps in an epoch.
        state: Checkpoint that the run goes on from; None for its start.

    Raises:
        LowzooError: The run has come too far for the new length, or has nothing left to do under new settings.
    """
    step = int(state["step"]) if state else 0
    old, history = run_folder.read_config(folder), read_changes(folder)
    if config.minutes and config.minutes != old.minutes:
        worked = Worked(**state.get("worked", {})) if state else Worked()
        spent = float(state.get("spent", worked.seconds)) if state else 0.0
        length = _within_minutes(config, per_epoch, step, worked, spent)
    total = length.total
    if step > total:
        given = next(name for name in LENGTHS if getattr(config, name))
        raise LowzooError(
            f"{given} = {getattr(config, given)} are {total} steps, and the run has made {step}",
            "Ask for more, or go back with --from STEP",
        )
    # What held for the last step: of a run that goes back, not what it was given later.
    past = [change for change in history if change.step < step]
    then = first_config(old, [change for change in history if change.step >= step])
    then_length = Length.of(then, per_epoch, read_segments(folder)).until(step + 1)
    rates = learning_rates(then, then_length, past)
    changes = merge_changes(history, old, config, step, float(rates[min(step, len(rates)) - 1]) if step else None)
    if step == total and changed_keys(old, config):
        raise LowzooError(
            f"the run has made all its {total} steps, so nothing would be trained under other values of "
            f"{', '.join(changed_keys(old, config))}",
            "Add --epochs MORE to train on, or go back with --from STEP",
        )
    return length, changes


def _within_minutes(config: TrainConfig, per_epoch: int, step: int, worked: Worked, spent: float) -> Length:
    """The layout of a run that goes on with other minutes than it was begun with, of which `spent` seconds are over."""
    minutes = config.minutes
    if not step or not worked.seconds:
        return Length.of(config, per_epoch)
    left = 60 * minutes - spent
    if left <= 0:
        raise LowzooError(
            f"minutes = {minutes:g} are spent: the run has taken {spent / 60:.1f}",
            "Ask for more, or go back with --from STEP",
        )
    total = step + max(1, int(left / worked.seconds * step))
    return Length.known(total, per_epoch).relaid(step, total)
