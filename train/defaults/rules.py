"""From facts to settings; each rule has its reason and, where there is one, its measurement beside it.

The papers' settings are made for 1.28 million images, hundreds of epochs and batches of 1,024 on eight accelerators.
These here are for everybody else: a budget of minutes and whatever images there are. What the user names is taken as
given, and the rest is made to go with it. Measured by `benchmarks/default_settings.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from lowzoo.train.defaults.facts import BUNDLED_TEACHER, DEFAULT_STUDENTS, Facts
from lowzoo.train.recipes import LENGTHS

# Width of the student's embedding before the prototypes: that of the bundled teacher, and of fitted prototypes.
_BOTTLENECK = 128


@dataclass(frozen=True)
class Chosen:
    """Settings and why.

    Args:
        fields: Fields of the configuration, under what the user has named.
        reasons: Lines for people.
    """

    fields: dict[str, Any]
    reasons: tuple[str, ...]


def choose(facts: Facts, named: Mapping[str, Any]) -> Chosen:
    """Settings for all that the user has not named.

    Args:
        facts: Facts of data and machine.
        named: Fields that the user has named.
    """
    fields: dict[str, Any] = {"recipe": facts.recipe, "student": DEFAULT_STUDENTS[facts.recipe]}
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
    recipe = {"rob": _rob, "seed": _seed, "sslight": _sslight}[facts.recipe]
    fields |= recipe(facts, named, batch, size)
    views = fields["views"]
    shown = " and ".join(f"{view['count']} {view['name']} of {view['size']} px" for view in views)
    reasons.append(f"Batches of {batch}; views: {shown}, as the images have {facts.side} px{_device_words(facts)}")
    return Chosen(fields | {"chosen": reasons}, tuple(reasons))


def _device_words(facts: Facts) -> str:
    return "" if facts.accelerator else " and the device is a processor"


def _minutes(facts: Facts) -> float:
    """With the root of the number of images: twice the data need more time, and each image fewer passes."""
    return float(round(min(1440, max(1, 3 * sqrt(facts.images / 1250)))))


def _batch(facts: Facts) -> int:
    """A power of two of which the data hold at least four; steps are worth more than their size in a short run."""
    most = 256 if facts.accelerator else 64
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
    """Views larger than the images hold nothing new; on a processor, the number of steps decides."""
    if facts.accelerator:
        return 224 if facts.side > 128 else 128 if facts.side > 80 else 64
    return 96 if facts.side > 128 else 64


def _view(name: str, count: int, size: int, scale: tuple[float, float], **more: Any) -> dict[str, Any]:
    return {"name": name, "count": count, "size": size, "scale": list(scale), **more}


def _rob(facts: Facts, named: Mapping[str, Any], batch: int, size: int) -> dict[str, Any]:
    loss = named.get("loss", "msn")
    fields: dict[str, Any] = {
        "loss": loss,
        # The teacher's opinion of a view is the whole target: a second view of the image is worth less than another
        # image, and local views, which cost as much again, less than more steps.
        "views": [_view("global", 1, size, (0.4, 1.0), gray=0.1)],
        "student_head": {"kind": "dino", "layers": 2, "hidden": 512, "bottleneck": _BOTTLENECK},
        **_teacher(facts, named),
    }
    if loss == "kd":
        return fields | {"student_head": {"kind": "linear"}, "teacher": named.get("teacher", "deit_small_patch16_224")}
    if loss == "ibot":
        return fields | {"student_head": {"kind": "ibot"}, "teacher": named.get("teacher", "ibot_vitb16")}
    if loss == "msn":
        fields["teacher_temperature"] = 0.05
    return fields


def _seed(facts: Facts, named: Mapping[str, Any], batch: int, size: int) -> dict[str, Any]:
    return {
        "queue": _queue(facts, batch, 4096),
        "views": [_view("global", 1, size, (0.3, 1.0), gray=0.1)],
        **_teacher(facts, named),
    }


def _teacher(facts: Facts, named: Mapping[str, Any]) -> dict[str, Any]:
    """The bundled teacher, or prototypes fitted to the embeddings of one without a head."""
    teacher = named.get("teacher", BUNDLED_TEACHER)
    rob = facts.recipe == "rob"
    fields: dict[str, Any] = {"teacher": teacher}
    if not facts.teacher_head:
        prototypes = 2
        while prototypes < 1024 and prototypes * 8 <= facts.images:
            prototypes *= 2
        fields |= {"teacher_head": "fitted", "prototypes": prototypes, "fitted_bottleneck": _BOTTLENECK}
    if rob and named.get("loss") not in ("ibot", "kd") and (teacher == BUNDLED_TEACHER or not facts.teacher_head):
        # They span the space of the targets from the first step on.
        fields["teacher_prototypes"] = True
    return fields


def _sslight(facts: Facts, named: Mapping[str, Any], batch: int, size: int) -> dict[str, Any]:
    method = named.get("method", "moco")
    jitter = [0.4, 0.4, 0.2, 0.1]
    views = [
        _view("global", 2, size, (0.3, 1.0), jitter=jitter, interpolation="bicubic"),
        _view("local", 2, max(32, size // 2), (0.05, 0.3), jitter=jitter, interpolation="bicubic"),
    ]
    fields: dict[str, Any] = {
        "method": method,
        "alpha": 0.4,
        "beta": 0.6,
        "ema": 0.98,
        "ema_end": 1.0,
        "views": views,
    }
    if method == "moco":
        head = {"kind": "moco", "hidden": 512, "bottleneck": 128}
        return fields | {"student_temperature": 0.2, "queue": _queue(facts, batch, 4096), "student_head": head}
    if method == "swav":
        head = {"kind": "swav", "hidden": 512, "bottleneck": 128}
        return fields | {"prototypes": 256, "queue": 512, "student_head": head}
    head = {"kind": "dino", "hidden": 512, "bottleneck": 128, "batch_norm": facts.kind == "cnn", "fixed_gain": True}
    return fields | {"prototypes": 512, "student_head": head}


def _queue(facts: Facts, batch: int, most: int) -> int:
    """Whole batches, and of the past half epoch at most, so that no image meets itself."""
    return max(1, min(most, facts.images // 2) // batch) * batch
