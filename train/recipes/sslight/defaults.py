"""SSLight's settings where no preset is named. Measured by `benchmarks/default_settings.py`."""

from collections.abc import Mapping
from typing import Any

from lowzoo.train.recipes.default_parts import queue_length, softer_views
from lowzoo.train.recipes.facts import Facts
from lowzoo.train.recipes.recipe import BatchAndSize


def defaults(facts: Facts, named: Mapping[str, Any], step: BatchAndSize) -> dict[str, Any]:
    """Its views, and the head that the method needs."""
    method = named.get("method", "moco")
    fields = {"method": method, "ema": 0.98, "ema_end": 1.0, **softer_views(facts, named, step.size)}
    if method == "moco":
        head = {"kind": "moco", "hidden": 512, "bottleneck": 128}
        return fields | {
            # In the same 3 minutes, with those views: 2.7 % at 0.2, 4.3 % at 0.1, 4.9 % at 0.05.
            "student_temperature": 0.2 if facts.gpu else 0.05,
            "queue": queue_length(facts, step.batch, 4096),
            "student_head": head,
        }
    if method == "swav":
        head = {"kind": "swav", "hidden": 512, "bottleneck": 128}
        return fields | {"prototypes": 256, "queue": queue_length(facts, step.batch, 512), "student_head": head}
    head = {"kind": "dino", "hidden": 512, "bottleneck": 128, "batch_norm": facts.kind == "cnn", "fixed_gain": True}
    return fields | {"prototypes": 512, "student_head": head}
