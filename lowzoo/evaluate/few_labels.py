"""Low-shot classification: logistic regression on the frozen features of 1, 2 or 5 images of each class, or of 1 %.

The protocol of MSN (Assran et al., arXiv 2204.07141) and of RoB: mean and spread over several splits.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lowzoo.base.errors import LowzooError
from lowzoo.evaluate.knn_protocol import TrainTestData
from lowzoo.evaluate.probes.logistic import LOGISTIC, Floats, LogisticSettings, choose, classify
from lowzoo.evaluate.result import DataFacts, EvaluationResult, Figure, ModelFacts, versions
from lowzoo.evaluate.sets.subsets import Indices, fraction_of, listed, require_classes, shots
from lowzoo.features.extraction import Extraction
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.zoo.resolve import Resolved

SHOTS, SHARE, SPLITS = (1, 2, 5), 0.01, 3


@dataclass(frozen=True, slots=True)
class LowshotTask:
    """One figure: splits of the training images that are averaged over."""

    name: str
    splits: tuple[Indices, ...]


def logistic_settings(protocol: str) -> LogisticSettings:
    """The settings of a publication.

    Raises:
        LowzooError: There are none.
    """
    if protocol not in LOGISTIC:
        raise LowzooError(
            f"there is no low-shot evaluation of protocol {protocol!r}", f"Choose of: {', '.join(LOGISTIC)}"
        )
    return LOGISTIC[protocol]


def draw_tasks(
    data: TrainTestData,
    *,
    counts: Sequence[int] = SHOTS,
    share: float | None = SHARE,
    lists: Sequence[Path] = (),
    splits: int = SPLITS,
    seed: int = 0,
) -> list[LowshotTask]:
    """Draw the splits, or read published ones.

    Args:
        data: `bank` are the training images.
        counts: Images of each class, a figure each.
        share: Fraction of the images of each class, 0 to 1; None for none.
        lists: Files that name the images, one split each, instead of everything drawn.
        splits: How many are drawn for each figure.
        seed: Random seed of the first split.

    Raises:
        LowzooError: A class has too few images, or a list names unknown ones.
    """
    labels = data.bank.require_labels()
    require_classes(labels, data.bank.name)
    if lists:
        return [LowshotTask("listed", tuple(listed(data.bank, range(len(data.bank)), file) for file in lists))]
    tasks = [
        LowshotTask(f"{count}shot", tuple(shots(labels, count, seed + split) for split in range(splits)))
        for count in counts
    ]
    if share is not None:
        name = f"{100 * share:g}percent"
        tasks.append(LowshotTask(name, tuple(fraction_of(labels, share, seed + split) for split in range(splits))))
    return tasks


def evaluate_lowshot(
    resolved: Resolved,
    data: TrainTestData,
    tasks: Sequence[LowshotTask],
    settings: LogisticSettings,
    *,
    preset: str = "",
    seed: int = 0,
    how: Extraction = Extraction(),
) -> EvaluationResult:
    """Classify the test images by regression on each split.

    Args:
        resolved: The network.
        data: Training images, of which only those in the splits are read, and test images.
        tasks: See `draw_tasks`.
        settings: Settings of the regression.
        preset: Whose settings they are, for the result.
        seed: Random seed of the cross-validation, and of the splits, for the result.
        how: How features are computed.

    Raises:
        LowzooError: Images cannot be read.
    """
    used = np.unique(np.concatenate([split for task in tasks for split in task.splits]))
    few = data.bank.subset(used)
    train, test = how.run(resolved, (few, data.queries))
    row_of = {int(used[kept]): row for row, kept in enumerate(train.kept.tolist())}
    train_x, test_x = _double(train.x.numpy()), _double(test.x.numpy())
    labels, truth = train.labels.numpy(), test.labels.numpy()

    figures, details = [], {}
    for task in tasks:
        accuracies, chosen, converged = [], [], True
        for split in task.splits:
            rows = np.array([row_of[index] for index in split.tolist() if index in row_of])
            strength, tried = choose(train_x[rows], labels[rows], settings, seed)
            predictions, done = classify(train_x[rows], labels[rows], test_x, settings, strength)
            accuracies.append(100 * float((predictions == truth).mean()))
            chosen.append({"lambda": strength, "cross_validated": [round(value, 2) for value in tried]})
            converged = converged and done
        figures.append(Figure.accuracy(f"lowshot_top1_{task.name}", accuracies, len(truth)))
        details[task.name] = {
            "images": [len(split) for split in task.splits],
            "splits": chosen,
            "converged": converged,
            "top1": [round(value, 4) for value in accuracies],
        }
    return EvaluationResult(
        protocol="lowshot",
        preset=preset,
        model=ModelFacts.of(resolved),
        data={
            "train": DataFacts.of_features(few, train),
            "test": DataFacts.of_features(data.queries, test),
        },
        settings={
            **dataclasses.asdict(settings),
            "seed": seed,
            "tasks": details,
            "precision": how.precision,
            "preprocessing": dataclasses.asdict(Preprocessing.of(resolved)),
        },
        figures=tuple(figures),
        versions=versions("scikit-learn"),
    )


def _double(x: np.ndarray) -> Floats:
    return x.astype(np.float64)
