"""Semi-supervised fine-tuning: the whole network is trained on 1 % or 10 % of the labels.

SSLight's protocol (`saic-fi/SSLight`, classification) and SwAV's (`facebookresearch/swav`, eval_semisup.py), which
stands for SEED too: its own settings were not published.
"""

import copy
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lowzoo.data.progress import progress_bar
from lowzoo.errors import LowzooError
from lowzoo.evaluate.augment import AugmentedDataset, ShuffledKeys
from lowzoo.evaluate.extraction import Extraction
from lowzoo.evaluate.features import autocast, extract_features
from lowzoo.evaluate.finetune_head import linear_head, mlp_head
from lowzoo.evaluate.inputs import input_loader, normalise_batch
from lowzoo.evaluate.knn_protocol import KnnData
from lowzoo.evaluate.preprocess import Preprocessing
from lowzoo.evaluate.result import DataFacts, EvaluationResult, Figure, ModelFacts, Scored, percent_right, versions
from lowzoo.evaluate.subsets import ClassNumbers, Indices, require_classes
from lowzoo.resolve import Resolved


@dataclass(frozen=True, slots=True)
class FinetuneSettings:
    """How a network is fine-tuned; SGD with momentum 0.9 and no weight decay.

    Args:
        head: SSLight's MLP from the projection head, or a linear layer.
        learning_rate: Peak rate of the backbone, for batches of `batch_size`.
        head_rate: Peak rate of the head.
        epochs: Passes over the labelled images.
        batch_size: Images in a step.
        milestones: Epochs after which the rates fall by `gamma`; none is a cosine to `final_rate`.
        gamma: See there.
        final_rate: See there.
        nesterov: Momentum looks ahead.
    """

    head: Literal["mlp", "linear"]
    learning_rate: float
    head_rate: float
    epochs: int
    batch_size: int
    milestones: tuple[float, ...] = ()
    gamma: float = 0.2
    final_rate: float = 0.0
    nesterov: bool = False

    def rates(self, epoch: int) -> tuple[float, float]:
        """Learning rates of the backbone and of the head in `epoch`."""
        if self.milestones:
            factor = self.gamma ** sum(epoch >= milestone for milestone in self.milestones)
            return self.learning_rate * factor, self.head_rate * factor
        cosine = (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        rest = self.final_rate * (1 - cosine)
        return self.learning_rate * cosine + rest, self.head_rate * cosine + rest


_SSLIGHT = FinetuneSettings("mlp", 0.12, 0.12, epochs=60, batch_size=1024, final_rate=1e-6, nesterov=True)
_SWAV = FinetuneSettings("linear", 0.02, 5.0, epochs=20, batch_size=256, milestones=(12, 16))
# By publication: settings up to 1 % of the labels, and for more.
FINETUNE = {
    "sslight": (_SSLIGHT, dataclasses.replace(_SSLIGHT, epochs=30)),
    "swav": (_SWAV, dataclasses.replace(_SWAV, learning_rate=0.01, head_rate=0.2)),
}
FINETUNE["seed"] = FINETUNE["swav"]


def finetune_settings(
    protocol: str, share: float, *, epochs: int | None = None, batch_size: int | None = None
) -> FinetuneSettings:
    """The settings of a publication for a share of the labels (0 to 1).

    Args:
        protocol: sslight, swav or seed.
        share: Decides between the settings for 1 % and for 10 %.
        epochs: Other length; milestones move along.
        batch_size: Other batch; rates are scaled with it.

    Raises:
        LowzooError: There are none.
    """
    if protocol not in FINETUNE:
        raise LowzooError(f"there is no fine-tuning of protocol {protocol!r}", f"Choose of: {', '.join(FINETUNE)}")
    settings = FINETUNE[protocol][share > 0.01]
    length, batch = epochs or settings.epochs, batch_size or settings.batch_size
    return dataclasses.replace(
        settings,
        learning_rate=settings.learning_rate * batch / settings.batch_size,
        head_rate=settings.head_rate * batch / settings.batch_size,
        batch_size=batch,
        epochs=length,
        milestones=tuple(milestone * length / settings.epochs for milestone in settings.milestones),
    )


def evaluate_finetune(
    resolved: Resolved,
    data: KnnData,
    splits: Sequence[Indices],
    settings: FinetuneSettings,
    *,
    preset: str = "",
    projection: Path | None = None,
    seed: int = 0,
    how: Extraction = Extraction(),
) -> Scored:
    """Fine-tune a copy of the network on each split and classify the test images.

    Args:
        resolved: The network; it is not changed.
        data: Training and test images.
        splits: Indices of the labelled training images, one training each.
        settings: Settings of the training.
        preset: Whose settings they are, for the result.
        projection: safetensors of the projection head, for an MLP.
        seed: Random seed of head, order and crops in the first training.
        how: Device, workers, precision.

    Raises:
        LowzooError: One class only, a head that does not fit, or a training that diverges.
    """
    classes = require_classes(data.bank.require_labels(), data.bank.name)
    spec = Preprocessing.of(resolved)
    accuracies, outputs = [], []
    unreadable: set[str] = set()
    for run, split in enumerate(splits):
        network = _train(resolved, data, split, settings, classes, spec, projection, seed + run, how, unreadable)
        tuned = dataclasses.replace(resolved, model=network)
        arguments = {**dataclasses.asdict(how), "cache": False}
        logits = extract_features(tuned, data.queries, **arguments)
        outputs.append((classes.ids_of(logits.x.argmax(dim=1)), logits))
        accuracies.append(percent_right(outputs[-1][0], logits.labels))
    predictions, test = outputs[0]
    few = data.bank.subset(np.unique(np.concatenate(splits)))
    result = EvaluationResult(
        protocol="finetune",
        preset=preset,
        model=ModelFacts.of(resolved),
        data={
            "train": DataFacts.of(few, sorted(unreadable)),
            "test": DataFacts.of_features(data.queries, test),
        },
        settings={
            **dataclasses.asdict(settings),
            "seed": seed,
            "images": [len(split) for split in splits],
            "projection_head": projection.name if projection else None,
            "top1": [round(value, 4) for value in accuracies],
            "precision": how.precision,
            "preprocessing": dataclasses.asdict(spec),
        },
        figures=(Figure.accuracy("finetune_top1", accuracies, len(test.labels)),),
        versions=versions(),
    )
    return Scored(result, test.labels, predictions, f"fine-tuned on {len(splits[0])} images")


def _train(
    resolved: Resolved,
    data: KnnData,
    split: Indices,
    settings: FinetuneSettings,
    classes: ClassNumbers,
    spec: Preprocessing,
    projection: Path | None,
    seed: int,
    how: Extraction,
    unreadable: set[str],
) -> nn.Module:
    labels = classes.numbers(torch.from_numpy(data.bank.require_labels()))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = copy.deepcopy(resolved.model).to(how.device)
        with torch.inference_mode():
            width = backbone(torch.zeros(1, *spec.input_size, device=how.device)).shape[1]
        outputs = len(classes)
        head = mlp_head(width, outputs, projection) if settings.head == "mlp" else linear_head(width, outputs)
    network = nn.Sequential(backbone, head.to(how.device)).train()
    network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(
        [{"params": list(backbone.parameters())}, {"params": list(head.parameters())}],
        lr=settings.learning_rate,
        momentum=0.9,
        nesterov=settings.nesterov,
    )
    keys = ShuffledKeys(split, settings.batch_size, settings.epochs, seed)
    loader = input_loader(AugmentedDataset(data.bank, spec, "crop", seed), keys, workers=how.workers, device=how.device)
    bar = progress_bar(f"fine-tuning on {len(split)} images", len(keys), wanted=how.progress)
    with bar as advance:
        for step, batch in enumerate(loader):
            unreadable.update(batch.errors)
            if len(batch.kept) < 2:
                raise LowzooError(
                    f"a batch of {data.bank.name} holds no two readable images", "Replace or remove the broken ones"
                )
            for group, rate in zip(optimiser.param_groups, settings.rates(step // keys.steps_per_epoch), strict=True):
                group["lr"] = rate
            with autocast(how.device, how.precision):
                logits: Tensor = network(normalise_batch(batch.pixels, spec, how.device))
            loss = cross_entropy(logits.float(), labels[batch.kept].to(how.device))
            if not torch.isfinite(loss):
                raise LowzooError(f"fine-tuning of {resolved.name} has diverged", "Use a larger --batch-size")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            advance(1)
    return network.eval()
