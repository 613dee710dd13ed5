"""Runs whose length is a budget of processor time, so that they can share a machine with other work.

What a step takes is measured on steps of a trial and then holds for the whole run; other work on the machine, which
takes the caches, makes steps dearer by up to a half, and so fewer.
"""

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from lowzoo.data.source import ImageSource
from lowzoo.train.defaults import choose, look
from lowzoo.train.monitoring.progress import StepClock
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs.loop import Run
from lowzoo.train.settings.config import named_fields, resolve

# Of one thread, for a second of two cores.
TWO_CORES = 1.7
# Their median: other work comes and goes.
_TIMED = 15
_COMMON = ("device=cpu", "workers=0", "log=none")


def holds_run(folder: Path) -> bool:
    """Whether a folder holds a run, which goes on then."""
    return (folder / "config.toml").exists()


def config_of(
    folder: Path,
    recipe: str,
    source: ImageSource,
    minutes: float,
    settings: Sequence[str],
    pinned: Mapping[str, Any] | None = None,
    *,
    whole: bool = False,
) -> TrainConfig:
    """The configuration of the run in a folder; of a new one what `lowzoo train` chooses, with the steps that fit.

    Args:
        folder: Of the run.
        recipe: Name of the recipe.
        source: Training images.
        minutes: Of two cores; a thread spends 1.7 times as much processor time.
        settings: KEY=VALUE, as of `--set`.
        pinned: Fields that win over the chosen ones, and that `settings` win over.
        whole: Whether what goes before the first step, such as fitting prototypes, is to have room in them, too.
    """
    if holds_run(folder):
        return resolve((), folder / "config.toml")
    common = [*_COMMON, *settings]
    named = named_fields(settings=[*common, f"minutes={minutes}"])
    chosen = choose(look(recipe, source, named, 1), named).fields | dict(pinned or {})
    trial = resolve(chosen, settings=[*common, f"steps={_TIMED + 2}", "monitor_epochs=0"])
    began = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(trial, source, None, Path(scratch) / "run")
        marks = [time.process_time() for _ in run.steps(StepClock(torch.device("cpu")))]
    pace = statistics.median(after - before for before, after in pairwise(marks[1:]))
    before = marks[1] - began - 2 * pace if whole else 0
    return resolve(chosen, settings=[*common, f"steps={int((minutes * 60 * TWO_CORES - before) / pace)}"])
