"""Transfer: linear probes on five other tasks, by RoB's table (VISSL, benchmark/linear_image_classification).

Every task is frozen features, batch norm with gain and shift, a linear layer; SGD with Nesterov momentum 0.9, weight
decay 5e-4, rate 0.01 for batches of 256.
"""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.base.registry import Registry
from lowzoo.data.reading.options import DEFAULT_OPTIONS, SourceOptions
from lowzoo.data.source import Images, ImageSource
from lowzoo.evaluate.knn_protocol import TrainTestData, open_train_test
from lowzoo.evaluate.linear_probe import evaluate_linear
from lowzoo.evaluate.probes.settings import PROBES, ProbeSettings, family_of
from lowzoo.evaluate.result import EvaluationResult, Figure, ModelFacts, versions
from lowzoo.evaluate.sets.cifar100 import open_cifar100
from lowzoo.evaluate.sets.clevr import open_clevr_count, open_clevr_dist
from lowzoo.evaluate.sets.inaturalist18 import open_inaturalist18
from lowzoo.evaluate.sets.places205 import open_places205
from lowzoo.features.extraction import Extraction
from lowzoo.zoo.resolve import Resolved


@dataclass(frozen=True, slots=True)
class TransferTask:
    """One row of the table.

    Another package declares one by an entry point of the group `lowzoo.transfer_tasks`.

    Args:
        name: What `--task` takes.
        label: As a table prints it.
        open: Opens a split in a folder.
        test: The split that is classified.
        epochs: Passes over the training images.
        milestones: Epochs after which the rate falls by 10; none is a cosine from 0.01 to 1e-4.
        whole_vit: Whether ViTs see whole pictures, resized without a crop and perhaps mirrored; otherwise they train on
            random crops.
        whole_cnn: The same for convolutional networks.
    """

    name: str
    label: str
    open: Callable[[Path, str], ImageSource]
    test: str
    epochs: int
    milestones: tuple[int, ...]
    whole_vit: bool
    whole_cnn: bool


_OWN = (
    TransferTask("inaturalist18", "iNaturalist-18", open_inaturalist18, "val", 84, (24, 48, 72), False, False),
    TransferTask("cifar100", "CIFAR-100", open_cifar100, "test", 28, (8, 16, 24), False, True),
    TransferTask("clevr_count", "Clevr/Count", open_clevr_count, "val", 50, (), True, True),
    TransferTask("clevr_dist", "Clevr/Dist", open_clevr_dist, "val", 100, (), True, True),
    TransferTask("places205", "Places205", open_places205, "val", 14, (4, 8, 12), False, False),
)
TASKS: Registry[TransferTask] = Registry(
    TransferTask, "transfer task", "lowzoo.transfer_tasks", {task.name: task for task in _OWN}
)


def transfer_settings(task: TransferTask, model: nn.Module) -> ProbeSettings:
    """The probes of a task for this architecture."""
    family = family_of(model)
    whole = task.whole_vit if family == "vit" else task.whole_cnn
    features = PROBES["rob"].get(family, PROBES["rob"]["cnn"]).features
    return dataclasses.replace(
        PROBES["rob"]["vit"],
        features=features,
        epochs=task.epochs,
        milestones=task.milestones,
        final_rate=0.0 if task.milestones else 1e-4,
        augmentation="flip" if whole else "crop",
        squash=whole,
    )


def chosen_tasks(names: Sequence[str], *, every: bool) -> list[str]:
    """Which tasks are meant.

    Raises:
        LowzooError: None, or one that there is not.
    """
    unknown = [name for name in names if name not in TASKS]
    if unknown or not (names or every):
        what = f"there is no transfer task {unknown[0]!r}" if unknown else "no transfer task is named"
        raise LowzooError(what, f"Name some of {', '.join(TASKS)} by --task, or all by --all")
    return list(TASKS) if every else list(dict.fromkeys(names))


def open_task(
    name: str, root: Path | None, word: Images | TrainTestData = None, options: SourceOptions = DEFAULT_OPTIONS
) -> TrainTestData:
    """Open the training and the test images of a task.

    Args:
        name: Name of the task.
        root: Folder with what the owners distribute.
        word: Another SRC that holds the task's images and labels, such as `hf:NAME`.
        options: How the images of `word` are found, and all are read.

    Raises:
        LowzooError: Neither is given, or a file is missing or damaged.
    """
    if word is not None:
        return open_train_test(word, options=options)
    if root is None:
        raise LowzooError("the folder with the data sets is not named", "Name it by --root")
    if not root.is_dir():
        raise LowzooError(f"{root} is no folder", "Name the folder with the data sets by --root")
    task = TASKS[name]
    train, test = task.open(root, "train"), task.open(root, task.test)
    # Lists may name different classes where one of them lacks some; the longer list knows them all.
    names_of = max((train.class_names or (), test.class_names or ()), key=len)
    rules = options.rules()
    return TrainTestData(
        dataclasses.replace(train, class_names=names_of, rules=rules),
        dataclasses.replace(test, class_names=names_of, rules=rules),
    )


def evaluate_transfer(
    resolved: Resolved,
    data: Mapping[str, TrainTestData],
    settings: Mapping[str, ProbeSettings],
    *,
    repeats: int = 1,
    seed: int = 0,
    how: Extraction = Extraction(),
) -> EvaluationResult:
    """Run the probes of every task.

    Args:
        resolved: The network.
        data: By name of the task.
        settings: By name of the task.
        repeats: Seeds of each final probe.
        seed: The first of them.
        how: How features are computed.

    Returns:
        A figure a task, in per cent, and their mean where there are several.

    Raises:
        LowzooError: See `evaluate_linear`.
    """
    facts: dict[str, Any] = {}
    figures, details = [], {}
    for name, images in data.items():
        found = evaluate_linear(
            resolved, images, settings[name], preset="rob", repeats=repeats, seed=seed, how=how
        ).result
        facts |= {f"{name} {part}": entry for part, entry in found.data.items()}
        figures.append(found.figures[0].model_copy(update={"metric": f"{name}_top1"}))
        details[name] = found.settings
    if len(figures) > 1:
        mean = statistics.fmean(figure.mean for figure in figures)
        figures.append(Figure(metric="mean_of_tasks", unit="%", mean=round(mean, 4), seeds=repeats))
    return EvaluationResult(
        protocol="transfer",
        preset="rob",
        model=ModelFacts.of(resolved),
        data=facts,
        settings={"tasks": details, "seed": seed},
        figures=tuple(figures),
        versions=versions(),
    )
