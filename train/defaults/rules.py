"""From facts to the settings that all recipes share; each rule has its reason and, where there is one, its measurement.

What a recipe adds of its own stands in its folder.

The papers' settings are made for 1.28 million images, hundreds of epochs and batches of 1,024 on eight GPUs.
These here are for everybody else: a budget of minutes and whatever images there are. What the user names is taken as
given, and the rest is made to go with it. Measured by `benchmarks/default_settings.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

from lowzoo import catalog
from lowzoo.base.progress import in_minutes
from lowzoo.train.defaults.prospects import caution, student_that_learns
from lowzoo.train.recipes import RECIPES, BatchAndSize
from lowzoo.train.recipes.base import LENGTHS
from lowzoo.train.recipes.default_parts import named_size
from lowzoo.train.recipes.facts import Facts, has_depthwise_kernels

# Whoever sets one of these wants a particular network, even if only the recipe's default.
_OF_NETWORK = {
    "student",
    "init",
    "zero_init_residual",
    "drop_path",
    "patch_drop",
    "patch_drop_per",
    "positions",
    "views",
    "view",
    "student_head",
    "loss",
    "method",
}

# Peak rate for a batch of 256, which goes with the batch, and decay: SEED's SGD, RoB-SwAV's LARC, SSLight's LARS.
_OF_PAPERS = {"sgd": (0.03, 1e-4), "larc": (0.3, 1e-6), "lars": (0.48, 1e-6)}


@dataclass(frozen=True)
class Chosen:
    """Settings and why.

    Args:
        fields: Fields of the configuration, under what the user has named.
        reasons: Lines for people.
        caution: What is known to come of such a run, where that is nothing good; empty otherwise.
    """

    fields: dict[str, Any]
    reasons: tuple[str, ...]
    caution: str = ""


def choose(facts: Facts, named: Mapping[str, Any]) -> Chosen:
    """Settings for all that the user has not named.

    Args:
        facts: Facts of data and machine.
        named: Fields that the user has named; as `view_preset` the kind of views that the recipe is to choose.
    """
    recipe = RECIPES[facts.recipe]
    fields: dict[str, Any] = {"recipe": recipe.name, "student": recipe.student}
    reasons: list[str] = []
    if not any(named.get(name) for name in LENGTHS):
        fields["minutes"] = _minutes(facts)
        reasons.append(
            f"{in_minutes(fields['minutes'])} for {facts.images} images (change by --minutes, --steps or --epochs)"
        )
    batch = named.get("batch_size") or _batch(facts)
    fields["batch_size"] = batch
    minutes, seen = _length(facts, named, fields)
    free = facts.student == catalog.student_architecture(recipe.student, recipe.name) and not _OF_NETWORK & set(named)
    if free and (row := student_that_learns(facts, minutes=minutes, seen=seen)):
        reasons.append(
            f"Student {row.student}, as {recipe.student} was not seen to learn in so short a run: "
            f"{row} k-NN in {in_minutes(row.minutes)} (change by --student)"
        )
        facts = replace(facts, student=row.architecture)
        fields["student"] = row.student
    size = named_size(named) or _global_size(facts)
    # Short runs have no time for SGD's slow start: SEED's own learned nothing in a few hundred steps.
    optimizer = str(named.get("optimizer", "adamw"))
    rate, decay = _rate(facts, batch), (0.04, 0.1)
    if optimizer in _OF_PAPERS:
        at_256, constant = _OF_PAPERS[optimizer]
        rate, decay = round(at_256 * batch / 256, 6), (constant, constant)
    if optimizer != "adamw" and "lr" not in named:
        whose = f"{optimizer}'s of the papers" if optimizer in _OF_PAPERS else "AdamW's"
        reasons.append(f"Rate {rate:g} and decay {decay[0]:g} to {decay[1]:g}, {whose} (change by --set lr=...)")
    fields |= {
        "optimizer": "adamw",
        "decay_rule": "one_d",
        # So much at this batch, whatever batch the user lets it be meant for.
        "lr": rate * named["lr_batch"] / batch if named.get("lr_batch") else rate,
        "lr_batch": 0,
        "lr_start": 1e-6,
        "lr_end": 1e-6,
        "warmup": 0.1,
        "schedule": "cosine",
        "update": "step",
        "weight_decay": decay[0],
        "weight_decay_end": decay[1],
        "clip_grad": 1.0,
        "precision": "auto",
    }
    if not facts.gpu and minutes:
        fields |= _watched(minutes)
    if facts.fast_bf16 and not has_depthwise_kernels(facts.student):
        # A step of ViT-Tiny takes 0.58 and of ResNet-18 0.59 of the time; depthwise kernels have a backward pass so
        # slow in bf16 that MobileNets take nearly twice as long (benchmarks/results/bf16_on_cpus.json). After 3 minutes
        # on 5,000 photographs RoB's ViT-Tiny has 8.8 and 9.0 % k-NN (two seeds) instead of 8.2 and 8.5; one pair of 6
        # minutes beside other work, with as many steps in both, has 9.6 instead of 10.9.
        fields["precision"] = "bf16"
        if "precision" not in named:
            reasons.append("Networks compute in bf16, whose matrices this CPU multiplies fast (change by --precision)")
    if facts.kind == "cnn" and not named.get("init"):
        # RoB on MobileNetV2 ends at 31.9 % k-NN (641 steps) instead of 27.8 (499) after three minutes of two cores on
        # the embedded drawings, whose sampling error is 2.6; untrained, it has 27.2 instead of 21.4.
        fields["zero_init_residual"] = True
    fields |= recipe.defaults(facts, named, BatchAndSize(batch, size))
    if about := _told_of_batch_and_views(facts, named, fields):
        reasons.append(about)
    said = caution(facts, init=str(named.get("init", "")), minutes=minutes, seen=seen)
    return Chosen(fields | {"chosen": reasons}, tuple(reasons), said)


def _told_of_batch_and_views(facts: Facts, named: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    """What was chosen of them; empty where the user has named both."""
    parts = [] if named.get("batch_size") else [f"batches of {fields['batch_size']}"]
    if "views" not in named:
        changes = named.get("view", {})
        views = [view | dict(changes.get(view["name"], {})) for view in fields["views"]]
        text = " and ".join(f"{view['count']} {view['name']} of {view['size']} px" for view in views)
        device = "" if facts.gpu else " and the device is a CPU"
        parts.append(f"views: {text}" + ("" if changes else f", as the images have {facts.side} px{device}"))
    text = "; ".join(parts)
    return text[:1].upper() + text[1:]


def _length(facts: Facts, named: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Length of a run in minutes, or in images that it goes through."""
    if steps := named.get("steps"):
        return None, float(steps * fields["batch_size"])
    if epochs := named.get("epochs"):
        return None, float(epochs * facts.images)
    return float(named.get("minutes") or fields["minutes"]), None


def _watched(minutes: float) -> dict[str, int]:
    """Images of the k-NN monitor: few enough for a short run.

    It measures before and after at the least. With 12,000 images and ViT-Tiny a run of one
    minute beside other work came to eight steps.
    """
    return {
        "monitor_bank": int(min(10_000, max(1_000, 1_500 * minutes))),
        "monitor_queries": int(min(2_000, max(500, 350 * minutes))),
    }


def _minutes(facts: Facts) -> float:
    """Grow with the square root of the number of images: a larger set needs more time, but fewer passes."""
    return float(round(min(1440, max(1, 3 * sqrt(facts.images / 1250)))))


def _batch(facts: Facts) -> int:
    """A power of two of which the data hold at least four; steps are worth more than their size in a short run."""
    most = 256 if facts.gpu else 64
    batch = most
    while batch > 4 and batch * 4 > facts.images:
        batch //= 2
    # A fifth of the images may be held out, and at least one of each class.
    batch = min(batch, max(2, min(facts.images * 4 // 5, facts.images - facts.spared)))
    return max(batch, facts.processes) // facts.processes * facts.processes


def _rate(facts: Facts, batch: int) -> float:
    """AdamW's rate goes with the root of the batch (Malladi et al., arXiv 2205.10287)."""
    base = 1e-3 if facts.kind == "vit" else 2e-3
    return round(base * sqrt(batch / 64), 6)


def _global_size(facts: Facts) -> int:
    """Views larger than the images hold nothing new; on a CPU, the number of steps decides."""
    if facts.gpu:
        return 224 if facts.side > 128 else 128 if facts.side > 80 else 64
    return 96 if facts.side > 128 else 64
