"""From facts to the settings that all recipes share; each rule has its reason and, where there is one, its measurement.

What a recipe adds of its own stands in its folder.

The papers' settings are made for 1.28 million images, hundreds of epochs and batches of 1,024 on eight GPUs.
These here are for everybody else: a budget of minutes and whatever images there are. What the user names is taken as
given, and the rest is made to go with it. Measured by `benchmarks/default_settings.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from lowzoo.train.recipes import RECIPES, Budget
from lowzoo.train.recipes.base import LENGTHS
from lowzoo.train.recipes.facts import SEEN_A_MINUTE, Facts


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
        named: Fields that the user has named.
    """
    recipe = RECIPES[facts.recipe]
    fields: dict[str, Any] = {"recipe": recipe.name, "student": recipe.student}
    reasons: list[str] = []
    if not any(named.get(name) for name in LENGTHS):
        fields["minutes"] = _minutes(facts)
        reasons.append(
            f"{fields['minutes']:g} minutes for {facts.images} images (change by --minutes, --steps or --epochs)"
        )
    batch = named.get("batch_size") or _batch(facts)
    size = _global_size(facts)
    fields |= {
        "batch_size": batch,
        # Short runs have no time for SGD's slow start: SEED's own learned nothing in a few hundred steps.
        "optimizer": "adamw",
        "decay_rule": "one_d",
        "lr": _rate(facts, batch),
        "lr_batch": 0,
        "lr_start": 1e-6,
        "lr_end": 1e-6,
        "warmup": 0.1,
        "schedule": "cosine",
        "update": "step",
        "weight_decay": 0.04,
        "weight_decay_end": 0.1,
        "clip_grad": 1.0,
        "precision": "auto",
    }
    if facts.kind == "cnn" and not named.get("init"):
        # RoB on MobileNetV2 ends at 31.9 % k-NN (641 steps) instead of 27.8 (499) after three minutes of two cores on
        # the embedded drawings.
        fields["zero_init_residual"] = True
    fields |= recipe.defaults(facts, named, Budget(batch, size))
    views = fields["views"]
    shown = " and ".join(f"{view['count']} {view['name']} of {view['size']} px" for view in views)
    reasons.append(f"Batches of {batch}; views: {shown}, as the images have {facts.side} px{_device_words(facts)}")
    caution = "" if facts.gpu else recipe.caution(facts, str(named.get("init", "")), _seen(facts, named, fields))
    return Chosen(fields | {"chosen": reasons}, tuple(reasons), caution)


def _seen(facts: Facts, named: Mapping[str, Any], fields: Mapping[str, Any]) -> float:
    """About how many images a run on two cores goes through."""
    if steps := named.get("steps"):
        return float(steps * fields["batch_size"])
    if epochs := named.get("epochs"):
        return float(epochs * facts.images)
    return SEEN_A_MINUTE * float(named.get("minutes") or fields["minutes"])


def _device_words(facts: Facts) -> str:
    return "" if facts.gpu else " and the device is a CPU"


def _minutes(facts: Facts) -> float:
    """With the root of the number of images: twice the data need more time, and each image fewer passes."""
    return float(round(min(1440, max(1, 3 * sqrt(facts.images / 1250)))))


def _batch(facts: Facts) -> int:
    """A power of two of which the data hold at least four; steps are worth more than their size in a short run."""
    most = 256 if facts.gpu else 64
    batch = most
    while batch > 4 and batch * 4 > facts.images:
        batch //= 2
    # A fifth of the images may be held out.
    batch = min(batch, max(2, facts.images * 4 // 5))
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
