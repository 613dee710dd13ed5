"""Where the rows of a run go beside `metrics.jsonl`: TensorBoard, Weights & Biases, MLflow.

A tracker is a class of one file here, in the registry below under the name that `--log` takes; another package declares
one by an entry point of the group `lowzoo.trackers` that gives an `Offer`. Each gets the same numbers by the same
names. What a tracker needs to find its run again after an interruption lies in the run folder.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.lazy import resolved_place
from lowzoo.base.registry import Registry

# Keys of which each row of the monitors has one.
MONITORS = {"knn", "rankme"}


class Tracker(Protocol):
    """Takes the numbers of a run."""

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Take what was measured at a step."""

    def close(self) -> None:
        """Send or write what is pending."""


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told of a run.

    Args:
        folder: Run folder.
        settings: The configuration, as plain values.
        step: Where this process begins; numbers of an earlier part of the run that lie after it are void.
    """

    folder: Path
    settings: dict[str, Any]
    step: int


@dataclass(frozen=True)
class Offer:
    """A tracker that can be chosen.

    Args:
        name: What `--log` takes.
        title: Its name for people.
        made_by: (run) -> `Tracker`, or "module:class" of it, which is imported when a run begins.
        package: Python package that it needs; empty if it needs none.
        install: What `pip install` brings that package by; the package's name if empty.
        default: Whether runs have it where none is named; they then go on without it where its package is absent.
    """

    name: str
    title: str
    made_by: Callable[[TrackedRun], Tracker] | str
    package: str = ""
    install: str = ""
    default: bool = False

    def installed(self) -> bool:
        """Whether what it needs is there."""
        return not self.package or importlib.util.find_spec(self.package) is not None

    def start(self, run: TrackedRun) -> Tracker:
        """Begin to track a run, or go on with it."""
        tracker: Tracker = resolved_place(self.made_by)(run)
        return tracker


TENSORBOARD = Offer(
    "tensorboard",
    "TensorBoard",
    f"{__name__}.tensorboard_log:TensorBoardLog",
    package="tensorboard",
    install="lowzoo[tensorboard]",
    default=True,
)
WANDB = Offer("wandb", "Weights & Biases", f"{__name__}.wandb_log:WandbLog", package="wandb", install="lowzoo[wandb]")
MLFLOW = Offer("mlflow", "MLflow", f"{__name__}.mlflow_log:MlflowLog", package="mlflow", install="lowzoo[mlflow]")

TRACKERS: Registry[Offer] = Registry(
    Offer,
    "tracker",
    "lowzoo.trackers",
    {name: f"{__name__}:{name.upper()}" for name in ("tensorboard", "wandb", "mlflow")},
)


def check_trackers(names: Sequence[str], say: Callable[[str], None]) -> list[str]:
    """The trackers among `names` that can be used.

    Without one that is chosen by default, such as TensorBoard, a run goes on and says so.

    Raises:
        LowzooError: Another one was chosen and is not installed.
    """
    usable = []
    for name in names:
        offer = TRACKERS[name]
        remedy = f"`pip install '{offer.install or offer.package}'`"
        if offer.installed():
            usable.append(name)
        elif offer.default:
            say(f"{offer.title} is not installed, so nothing is written for it: run {remedy}, or --log none")
        else:
            raise LowzooError(f"--log {name} needs {offer.title}, which is not installed", f"Run {remedy}")
    return usable


class Trackers:
    """All trackers of a run.

    Args:
        names: Names in the registry, all installed.
        run: What they are told.
        say: Is told of one that fails.

    Raises:
        LowzooError: One cannot begin.
    """

    def __init__(self, names: Sequence[str], run: TrackedRun, say: Callable[[str], None]) -> None:
        self._say = say
        self._all: dict[str, Tracker] = {}
        for name in names:
            try:
                self._all[name] = TRACKERS[name].start(run)
            except Exception as error:  # of a server, of an account, of its own files
                raise LowzooError(
                    f"{TRACKERS[name].title} cannot begin: {reason_of(error)}",
                    "Mend that, or run without --log " + name,
                ) from error

    def add(self, row: dict[str, Any]) -> None:
        """Send every number of a row of `metrics.jsonl`."""
        group = "monitor" if MONITORS & row.keys() else "train"
        numbers = {f"{group}/{key}": row[key] for key in row if key not in ("step", "epoch")}
        self._for_all(lambda tracker: tracker.log(numbers, row["step"]))

    def close(self) -> None:
        """Send or write what is pending."""
        self._for_all(lambda tracker: tracker.close())

    def _for_all(self, act: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._all.items()):
            try:
                act(tracker)
            except Exception as error:  # a lost server must not cost a run of days
                del self._all[name]
                self._say(f"{TRACKERS[name].title} failed and gets no more: {reason_of(error)}; metrics.jsonl has all")
