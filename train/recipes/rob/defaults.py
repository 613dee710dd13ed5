"""RoB's settings where no preset is named. Measured by `benchmarks/default_settings.py`."""

from collections.abc import Mapping
from typing import Any

from lowzoo import catalog
from lowzoo.train.heads.kinds import HEADS
from lowzoo.train.recipes.default_parts import BOTTLENECK, softer_views, taught_view, teacher_fields
from lowzoo.train.recipes.facts import Facts
from lowzoo.train.recipes.recipe import BatchAndSize

# What losses that need more of the teacher than prototypes end in; nothing is fitted for them.
_HEADS = {"kd": "linear", "ibot": "ibot"}


def defaults(facts: Facts, named: Mapping[str, Any], step: BatchAndSize) -> dict[str, Any]:
    """One global view, or those of SSLight, and the head that the loss needs."""
    loss = named.get("loss", "msn")
    fields: dict[str, Any] = {"loss": loss, "views": [taught_view(facts, step.size, (0.4, 1.0))]}
    if named.get("view_preset") == "sslight":
        fields |= softer_views(facts, named, step.size)
    if loss in _HEADS:
        return fields | {"student_head": {"kind": _HEADS[loss]}, "teacher": named.get("teacher", facts.teacher)}
    # An MLP takes part of the task from the features. After 350 steps on 25,000 photographs ResNet-18 has 14.9 % k-NN
    # with a linear map instead of 13.0; with this and without changes of colour MobileNetV3-Large has 11.8 instead of
    # 9.8, ViT-Tiny 9.5 instead of 8.4 (benchmarks/results/short_distillation.json).
    given = named.get("student_head", {})
    head = {"kind": "dino", "layers": 2 if facts.gpu or "hidden" in given else 1, "hidden": 512, **given}
    wanted = head.get("bottleneck", BOTTLENECK)
    fields |= teacher_fields(facts, named, step.size, int(wanted))
    axes = named.get("fitted_bottleneck", fields.get("fitted_bottleneck", wanted))
    entry = catalog.teachers().get(fields["teacher"])
    at_prototypes = not facts.teacher_head or (entry is not None and entry.start_at_prototypes)
    if at_prototypes and "teacher_prototypes" not in named:
        # Fitted ones, too, span the space of the targets from the first step on, if the student's head is as wide.
        starts = head["kind"] in HEADS and HEADS[head["kind"]].takes_prototypes
        fields["teacher_prototypes"] = starts and head.setdefault("bottleneck", axes) == axes
    head.setdefault("bottleneck", axes)
    if loss == "msn":
        fields["teacher_temperature"] = 0.05
    return fields | {"student_head": head}
