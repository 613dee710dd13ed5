"""Linear probes on a frozen network, by the settings of several papers or by a sweep.

Where there are several candidates (features, learning rates, weight decays), they are trained together on nine tenths
of the training images and judged on the tenth; the best is trained again on all training images, once for each seed.
The test images decide nothing.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lowzoo.evaluate.extraction import Extraction
from lowzoo.evaluate.feature_kinds import with_features
from lowzoo.evaluate.feeds import AugmentedFeed, CachedFeed, Feed
from lowzoo.evaluate.knn_protocol import KnnData
from lowzoo.evaluate.preprocess import Preprocessing
from lowzoo.evaluate.probe_settings import ProbeSettings
from lowzoo.evaluate.probes import Candidate, ProbeBank, candidates_of
from lowzoo.evaluate.result import DataFacts, EvaluationResult, Figure, ModelFacts, Scored, percent_right, versions
from lowzoo.evaluate.subsets import held_out, require_classes
from lowzoo.resolve import Resolved

HELD_OUT = 0.1


def evaluate_linear(
    resolved: Resolved,
    data: KnnData,
    settings: ProbeSettings,
    *,
    preset: str = "",
    repeats: int = 1,
    seed: int = 0,
    how: Extraction = Extraction(),
) -> Scored:
    """Train linear probes and count how often they are right.

    Args:
        resolved: The network.
        data: `bank` are the training images, `queries` the test images.
        settings: Of the probes.
        preset: Whose settings they are, for the result.
        repeats: Seeds the final probe is trained with.
        seed: The first of them.
        how: How features are computed.

    Raises:
        LowzooError: Fewer than two classes, unknown features, images that cannot be read, or nothing to hold out.
    """
    classes = require_classes(data.bank.require_labels(), data.bank.name)
    wide, network = with_features(resolved, settings.features)
    spec = dataclasses.replace(Preprocessing.of(resolved), squash=settings.squash)
    train, test = how.run(wide, (data.bank, data.queries), spec)
    widths = network.widths(spec.input_size, how.device)
    trainer = _Trainer(settings, dict(zip(settings.features, train.x.split(widths, dim=1), strict=True)), classes, how)
    if settings.augmentation == "none":
        feed: Feed = CachedFeed(list(trainer.train.values()), train.labels, settings, how.device)
    else:
        # Rows of `train` are the readable images; the feed counts in the indices of the source.
        labels = torch.from_numpy(data.bank.require_labels())
        extraction = {"device": how.device, "workers": how.workers, "precision": how.precision}
        feed = AugmentedFeed(network, widths, data.bank, labels, settings, spec, progress=how.progress, **extraction)  # type: ignore[arg-type]
    numbers = train.kept.numpy() if settings.augmentation != "none" else np.arange(len(train.kept))

    candidates = candidates_of(settings)
    best = candidates[0]
    tried: list[tuple[float, float]] = []
    if len(candidates) > 1:
        fit, held = held_out(train.labels.numpy(), HELD_OUT, seed)
        held_labels = train.labels[held]
        for kind, bank in trainer.fit(feed, candidates, numbers[fit], fit, seed).items():
            x = trainer.train[kind][held]
            right = [percent_right(top[:, 0], held_labels) for top in bank.predict(x)]
            tried += zip(right, bank.losses(x, held_labels).tolist(), strict=True)
        best = candidates[best_candidate(tried, len(held))]
    test_x = dict(zip(settings.features, test.x.split(widths, dim=1), strict=True))[best.features]
    every = np.arange(len(train.kept))
    tops = []
    for repeat in range(repeats):
        (bank,) = trainer.fit(feed, [best], numbers, every, seed + repeat).values()
        tops.append(bank.predict(test_x)[0])
    found = Figure.accuracy("linear_top1", [percent_right(top[:, 0], test.labels) for top in tops], len(test.labels))
    figures = [found]
    if classes > 5:
        among_five = [100 * (top == test.labels[:, None]).any(dim=1).double().mean().item() for top in tops]
        figures.append(Figure.accuracy("linear_top5", among_five, len(test.labels)))
    result = EvaluationResult(
        protocol="linear",
        preset=preset,
        model=ModelFacts.of(resolved),
        data={
            "train": DataFacts.of(data.bank, train.unreadable(data.bank)),
            "test": DataFacts.of(data.queries, test.unreadable(data.queries)),
        },
        settings={
            **dataclasses.asdict(settings),
            "seed": seed,
            "chosen": dataclasses.asdict(best),
            "held_out": HELD_OUT if tried else None,
            "tried": [
                {**dataclasses.asdict(candidate), "held_out_top1": round(right, 4), "held_out_loss": round(loss, 4)}
                for candidate, (right, loss) in zip(candidates, tried, strict=True)
            ]
            if tried
            else [],
            "precision": how.precision,
            "preprocessing": dataclasses.asdict(spec),
        },
        figures=tuple(figures),
        versions=versions(),
    )
    return Scored(result, test.labels, tops[0][:, 0], f"linear probe, seed {seed}")


def best_candidate(tried: Sequence[tuple[float, float]], images: int) -> int:
    """Which of several probes to keep: of the most accurate ones the one of least loss.

    A sweep's best accuracies differ by less than their noise, and their highest is often a probe that has not
    converged. Accuracies within one standard error of the highest are therefore ties, and the loss, which is less
    noisy, decides among them.

    Args:
        tried: (top-1 in %, mean cross-entropy in nats) of each on the same held-out images.
        images: How many these are.

    Returns:
        Its place.
    """
    highest = max(top1 for top1, _ in tried)
    share = highest / 100
    least = highest - 100 * math.sqrt(share * (1 - share) / images)
    return min((i for i, (top1, _) in enumerate(tried) if top1 >= least), key=lambda i: tried[i][1])


@dataclass(frozen=True, slots=True)
class _Trainer:
    settings: ProbeSettings
    train: dict[str, Tensor]
    classes: int
    how: Extraction

    def fit(
        self, feed: Feed, candidates: list[Candidate], indices: np.ndarray, rows: np.ndarray, seed: int
    ) -> dict[str, ProbeBank]:
        """Train probes of `candidates` on images `indices` of the feed, which are `rows` of the features."""
        banks = {}
        for kind in dict.fromkeys(candidate.features for candidate in candidates):
            mine = [candidate for candidate in candidates if candidate.features == kind]
            bank = ProbeBank(mine, self.train[kind].shape[1], self.classes, self.settings, seed)
            if self.settings.augmentation == "none":
                bank.fit_norm(self.train[kind][torch.from_numpy(rows)])
            banks[kind] = bank.to(self.how.device)
        order = list(self.train)
        for progress, features, labels in feed.batches(indices, seed):
            for kind, bank in banks.items():
                bank.step(features[order.index(kind)], labels, progress)
        return banks
