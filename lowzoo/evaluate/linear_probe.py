"""Linear probes on a frozen network, by the settings of several papers or by a sweep.

Where there are several candidates (features, learning rates, weight decays), they are trained together on nine tenths
of the training images and judged on the tenth; the best is trained again on all training images, once for each seed.
Probes that are solved for are judged by cross-validation on all training images, and solved once: a seed changes only
who is held out when. The test images decide nothing.

Several processes divide what can be divided without changing a number: candidates that are solved for, folds, kinds of
features and seeds on features that are computed once, and the images of each batch where images are augmented.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from lowzoo.base.progress import progress_bar
from lowzoo.evaluate.knn_protocol import TrainTestData
from lowzoo.evaluate.probes.feeds import AugmentedFeed, CachedFeed, Feed
from lowzoo.evaluate.probes.linear_probes import Candidate, ProbeBank, candidates_of
from lowzoo.evaluate.probes.settings import ProbeSettings
from lowzoo.evaluate.probes.solved import solve
from lowzoo.evaluate.result import DataFacts, EvaluationResult, Figure, ModelFacts, Scored, percent_right, versions
from lowzoo.evaluate.sets.subsets import Indices, folds, held_out, require_classes
from lowzoo.features.extraction import Extraction
from lowzoo.features.feature_kinds import with_features
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.zoo.resolve import Resolved

HELD_OUT = 0.1
J = TypeVar("J")
R = TypeVar("R")


def evaluate_linear(
    resolved: Resolved,
    data: TrainTestData,
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
        settings: Settings of the probes.
        preset: Whose settings they are, for the result.
        repeats: Seeds the final probe is trained with; one that is solved for is the same with each.
        seed: The first of them.
        how: How features are computed.

    Raises:
        LowzooError: Fewer than two classes, unknown features, images that cannot be read, or nothing to hold out.
    """
    classes = require_classes(data.bank.require_labels(), data.bank.name)
    wide, network = with_features(resolved, settings.features)
    spec = Preprocessing.of(resolved)
    if settings.squash:
        spec = dataclasses.replace(spec, crop_mode="squash", crop_pct=1.0)
    train, test = how.run(wide, (data.bank, data.queries), spec)
    widths = network.widths(spec.input_size, how.device)
    kinds = dict(zip(settings.features, train.x.split(widths, dim=1), strict=True))
    known = classes.numbers(train.labels)
    trainer = _Trainer(settings, kinds, known, len(classes), how)
    feed: Feed | None = None  # needed for training alone
    if settings.augmentation != "none":
        # Rows of `train` are the readable images; the feed counts in the indices of the source.
        labels = classes.numbers(torch.from_numpy(data.bank.require_labels()))
        extraction = {
            "device": how.device,
            "workers": how.workers,
            "precision": how.precision,
            "among": how.among,
        }
        feed = AugmentedFeed(network, widths, data.bank, labels, settings, spec, progress=how.progress, **extraction)  # type: ignore[arg-type]
    elif settings.optimizer != "lbfgs":
        feed = CachedFeed(list(kinds.values()), known, settings, how.device, how.progress)
    numbers = train.kept.numpy() if settings.augmentation != "none" else np.arange(len(train.kept))

    candidates = candidates_of(settings)
    splits = _splits(settings, train.labels.numpy(), seed) if len(candidates) > 1 else []
    tried, converged = trainer.judge(feed, candidates, numbers, splits, seed) if splits else ([], True)
    best = candidates[best_candidate(tried)] if tried else candidates[0]
    test_x = dict(zip(settings.features, test.x.split(widths, dim=1), strict=True))[best.features]
    every = np.arange(len(train.kept))

    def final(repeat: int) -> tuple[Tensor, bool | None]:
        (bank,) = trainer.fit(feed, [best], numbers, every, seed + repeat).values()
        return classes.ids_of(bank.predict(test_x)[0]), bank.converged

    made = trainer.divided(range(1 if settings.optimizer == "lbfgs" else repeats), final)
    tops, solved = [top for top, _ in made], made[-1][1]
    found = Figure.accuracy("linear_top1", [percent_right(top[:, 0], test.labels) for top in tops], len(test.labels))
    figures = [found]
    if len(classes) > 5:
        among_five = [100 * (top == test.labels[:, None]).any(dim=1).double().mean().item() for top in tops]
        figures.append(Figure.accuracy("linear_top5", among_five, len(test.labels)))
    result = EvaluationResult(
        protocol="linear",
        preset=preset,
        model=ModelFacts.of(resolved),
        data={
            "train": DataFacts.of_features(data.bank, train),
            "test": DataFacts.of_features(data.queries, test),
        },
        settings={
            **settings.facts(),
            "seed": seed,
            "chosen": dataclasses.asdict(best),
            "held_out": (1 / len(splits) if len(splits) > 1 else HELD_OUT) if splits else None,
            "folds": len(splits),
            "converged": None if solved is None else converged and solved,
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


def best_candidate(tried: Sequence[tuple[float, float]]) -> int:
    """Which of several probes to keep: the most accurate, and of equally accurate ones that of least loss.

    Args:
        tried: (top-1 in %, mean cross-entropy in nats) of each on the same held-out images.

    Returns:
        Its place.
    """
    return max(range(len(tried)), key=lambda i: (tried[i][0], -tried[i][1]))


def by_kind(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Candidates on the same features together, in their order."""
    kinds = dict.fromkeys(candidate.features for candidate in candidates)
    return [[candidate for candidate in candidates if candidate.features == kind] for kind in kinds]


def _splits(settings: ProbeSettings, labels: np.ndarray, seed: int) -> list[tuple[Indices, Indices]]:
    """Rows to fit on and rows to judge by: several of each for probes that are cheap enough, one for others."""
    masks = folds(labels, seed) if settings.optimizer == "lbfgs" else []
    return [(np.flatnonzero(~mask), np.flatnonzero(mask)) for mask in masks] or [held_out(labels, HELD_OUT, seed)]


@dataclass(frozen=True, slots=True)
class _Trainer:
    settings: ProbeSettings
    train: dict[str, Tensor]
    labels: Tensor
    classes: int
    how: Extraction

    def judge(
        self,
        feed: Feed | None,
        candidates: list[Candidate],
        numbers: np.ndarray,
        splits: list[tuple[Indices, Indices]],
        seed: int,
    ) -> tuple[list[tuple[float, float]], bool]:
        """Top-1 in % and mean cross-entropy in nats of each candidate on the held-out rows of all splits.

        Also whether all converged, where they were solved for.
        """
        # What is solved for is solved candidate by candidate; what trains on augmented images sees them all at once.
        solved, augmented = self.settings.optimizer == "lbfgs", self.settings.augmentation != "none"
        groups = (
            [[candidate] for candidate in candidates] if solved else [candidates] if augmented else by_kind(candidates)
        )

        def judged(job: tuple[tuple[Indices, Indices], list[Candidate]]) -> tuple[list[tuple[int, float]], bool]:
            (fit, held), group = job
            labels, converged = self.labels[held], True
            found: list[tuple[int, float]] = []
            for kind, bank in self.fit(feed, group, numbers[fit], fit, seed).items():
                x = self.train[kind][held]
                counts = [int((top[:, 0] == labels).sum()) for top in bank.predict(x)]
                found += zip(counts, bank.losses(x, labels).tolist(), strict=True)
                converged = converged and bank.converged is not False
            return found, converged

        made = self.divided([(split, group) for split in splits for group in groups], judged)
        right = np.zeros(len(candidates), np.int64)
        losses = np.zeros(len(candidates))
        for number, (_, held) in enumerate(splits):
            of_split = made[number * len(groups) : (number + 1) * len(groups)]
            found = [row for rows, _ in of_split for row in rows]
            right += [count for count, _ in found]
            losses += [len(held) * loss for _, loss in found]
        images = sum(len(held) for _, held in splits)
        tried = list(zip((100 * right / images).tolist(), (losses / images).tolist(), strict=True))
        return tried, all(converged for _, converged in made)

    def divided(self, jobs: Sequence[J], work: Callable[[J], R]) -> list[R]:
        """What each job gives, in their order; each process takes its part, unless each step is divided already."""
        among = self.how.among
        if self.settings.augmentation != "none":
            return [work(job) for job in jobs]
        mine = jobs[among.rank :: among.count]

        def done() -> list[R]:
            # What is trained shows its own steps.
            wanted = self.how.progress and self.settings.optimizer == "lbfgs"
            with progress_bar("solving probes", len(mine), wanted=wanted) as advance:
                found = []
                for job in mine:
                    found.append(work(job))
                    advance(1)
            return found

        made = among.collect(done)
        return [made[number % among.count][number // among.count] for number in range(len(jobs))]

    def fit(
        self, feed: Feed | None, candidates: list[Candidate], indices: np.ndarray, rows: np.ndarray, seed: int
    ) -> dict[str, ProbeBank]:
        """Train probes of `candidates` on images `indices` of the feed, which are `rows` of the features."""
        banks = {}
        for mine in by_kind(candidates):
            kind = mine[0].features
            bank = ProbeBank(mine, self.train[kind].shape[1], self.classes, self.settings, seed)
            if self.settings.augmentation == "none":
                bank.fit_norm(self.train[kind][torch.from_numpy(rows)])
            banks[kind] = bank.to(self.how.device)
        if feed is None:
            for kind, bank in banks.items():
                x, labels = (part[rows].to(self.how.device) for part in (self.train[kind], self.labels))
                bank.converged = solve(bank, x, labels)
            return banks
        order = list(self.train)
        for progress, features, labels in feed.batches(indices, seed):
            for kind, bank in banks.items():
                bank.step(features[order.index(kind)], labels, progress)
        return banks
