"""RoB's settings where no preset is named. Measured by `benchmarks/default_settings.py`."""

from collections.abc import Mapping
from typing import Any

from lowzoo import catalog
from lowzoo.train.recipes.default_parts import BOTTLENECK, teacher_fields, view
from lowzoo.train.recipes.facts import Facts
from lowzoo.train.recipes.recipe import Budget


def defaults(facts: Facts, named: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    """One global view, and the head that the loss needs."""
    loss = named.get("loss", "msn")
    teacher = teacher_fields(facts, named, budget.size)
    fields: dict[str, Any] = {
        "loss": loss,
        # The teacher's opinion of a view is the whole target: a second view of the image is worth less than another
        # image, and local views, which cost as much again, less than more steps.
        "views": [view("global", 1, budget.size, (0.4, 1.0), gray=0.1)],
        "student_head": {
            "kind": "dino",
            "layers": 2,
            "hidden": 512,
            "bottleneck": teacher.get("fitted_bottleneck", BOTTLENECK),
        },
        **teacher,
    }
    if loss == "kd":
        return fields | {"student_head": {"kind": "linear"}, "teacher": named.get("teacher", "deit_small_patch16_224")}
    if loss == "ibot":
        return fields | {"student_head": {"kind": "ibot"}, "teacher": named.get("teacher", "ibot_vitb16")}
    entry = catalog.teachers().get(fields["teacher"])
    if not facts.teacher_head or (entry is not None and entry.start_at_prototypes):
        # Fitted ones, too, span the space of the targets from the first step on.
        fields["teacher_prototypes"] = True
    if loss == "msn":
        fields["teacher_temperature"] = 0.05
    return fields
