"""Weights & Biases: a run of the project "lowzoo"; WANDB_PROJECT, WANDB_MODE and the like choose otherwise."""

import os
import secrets

import wandb

from lowzoo.base.printable import printable
from lowzoo.io.files import plain_path, write_text
from lowzoo.train.monitoring.trackers import TrackedRun


class WandbLog:
    """Sends numbers; `wandb.txt` in the run folder holds the identity under which a resumed run goes on."""

    def __init__(self, run: TrackedRun) -> None:
        known = run.folder / "wandb.txt"
        identity = known.read_text(encoding="utf-8").strip() if known.exists() else secrets.token_hex(8)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "lowzoo"),
            name=printable(run.folder.absolute().name),
            id=identity,
            resume="allow",
            dir=str(plain_path(run.folder)),
            config=run.settings,
        )
        write_text(known, identity + "\n")
        # Its own count of steps only grows, and would drop what a run that was resumed makes once more.
        self._run.define_metric("*", step_metric="step")

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Send numbers, over the axis `step`."""
        self._run.log({**numbers, "step": step})

    def close(self) -> None:
        """Send what is pending and end this part of the run."""
        self._run.finish()
