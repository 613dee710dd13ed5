"""Semi-supervised fine-tuning: the whole network is trained on 1 % or 10 % of the labels.

SSLight's protocol (`saic-fi/SSLight`, classification) and SwAV's (`facebookresearch/swav`, eval_semisup.py), which
stands for SEED too: its own settings were not published.

The classifier of fine-tuning: a linear layer, or SSLight's MLP whose first layers come from the projection head.
"""

import copy
import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lowzoo.base.errors import LowzooError
from lowzoo.base.progress import progress_bar
from lowzoo.evaluate.knn_protocol import TrainTestData
from lowzoo.evaluate.probes.augment import AugmentedDataset, ShuffledKeys
from lowzoo.evaluate.result import DataFacts, EvaluationResult, Figure, ModelFacts, Scored, percent_right, versions
from lowzoo.evaluate.sets.subsets import ClassNumbers, Indices, require_classes
from lowzoo.features.extraction import Extraction
from lowzoo.features.features import autocast, extract_features
from lowzoo.features.inputs import input_loader, normalise_batch
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.zoo.resolve import Resolved

_HIDDEN, _LAYERS = 2048, 2
_LINEAR = re.compile(r"mlp\.(\d+)\.weight")


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
    protocol: str, fraction: float, *, epochs: int | None = None, batch_size: int | None = None
) -> FinetuneSettings:
    """The settings of a publication for a fraction of the labels (0 to 1).

    Args:
        protocol: sslight, swav or seed.
        fraction: Decides between the settings for 1 % and for 10 %.
        epochs: Other length; milestones move along.
        batch_size: Other batch; rates are scaled with it.

    Raises:
        LowzooError: There are none.
    """
    if protocol not in FINETUNE:
        raise LowzooError(f"there is no fine-tuning of protocol {protocol!r}", f"Choose of: {', '.join(FINETUNE)}")
    settings = FINETUNE[protocol][fraction > 0.01]
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
    data: TrainTestData,
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
        logits = extract_features(tuned, data.queries, **how.arguments(), cache=False)
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
    data: TrainTestData,
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


def linear_head(in_dim: int, classes: int) -> nn.Module:
    """One linear layer, weights N(0, 0.01)."""
    layer = nn.Linear(in_dim, classes)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer


def mlp_head(in_dim: int, classes: int, projection: Path | None) -> nn.Module:
    """Linear, batch norm, GELU, twice, and a linear layer.

    Args:
        in_dim: Width of the features.
        classes: Outputs.
        projection: safetensors of a projection head, as a run folder holds it; its hidden layers, up to two, are the
            first ones here. None starts all at random with a width of 2048.

    Raises:
        LowzooError: The file holds no MLP, or one for features of another width.
    """
    hidden = _hidden_layers(projection, in_dim) if projection else []
    width = in_dim
    modules: list[nn.Module] = []
    for at in range(_LAYERS):
        known, known_norm = hidden[at] if at < len(hidden) else ({}, {})
        out = len(known["weight"]) if known else _HIDDEN
        layer, norm = nn.Linear(width, out), nn.BatchNorm1d(out)
        nn.init.trunc_normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
        layer.load_state_dict(layer.state_dict() | known)
        norm.load_state_dict(norm.state_dict() | known_norm)
        modules += [layer, norm, nn.GELU()]
        width = out
    return nn.Sequential(*modules, linear_head(width, classes))


def _hidden_layers(file: Path, in_dim: int) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """The tensors of each linear layer but the last one, and of the batch norm behind it if there is one."""
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise LowzooError(f"{file} is no projection head: {error}", "Name head.safetensors of a run folder") from error
    layers = sorted(int(match[1]) for key in tensors if (match := _LINEAR.fullmatch(key)) and tensors[key].ndim == 2)
    if len(layers) < 2:
        raise LowzooError(f"{file} holds no MLP with hidden layers", "Name the head of a run of DINO, iBOT or SSLight")
    if tensors[f"mlp.{layers[0]}.weight"].shape[1] != in_dim:
        raise LowzooError(
            f"{file} is for features of width {tensors[f'mlp.{layers[0]}.weight'].shape[1]}, not {in_dim}",
            "Name the head that was trained with this network",
        )
    return [_layer(tensors, number) for number in layers[:-1][:_LAYERS]]


def _layer(tensors: Mapping[str, Tensor], number: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    linear, norm = f"mlp.{number}.", f"mlp.{number + 1}."
    known = {key.removeprefix(linear): value.float() for key, value in tensors.items() if key.startswith(linear)}
    if f"{norm}running_mean" not in tensors:
        return known, {}
    return known, {key.removeprefix(norm): value for key, value in tensors.items() if key.startswith(norm)}
