"""SSLight's settings where no preset is named. Measured by `benchmarks/default_settings.py`."""

from collections.abc import Mapping
from typing import Any

from lowzoo.train.recipes.default_parts import queue_length, view
from lowzoo.train.recipes.facts import Facts
from lowzoo.train.recipes.recipe import Budget


def defaults(facts: Facts, named: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    """Two global and two local views, and the head that the method needs."""
    method = named.get("method", "moco")
    # Minutes are too short to gain by invariance to colour what it costs: with it MoCo-v2 on MobileNetV3-Large fell
    # from 3.5 to 2.0 % k-NN in 3 minutes of two cores on 5,000 photographs, and without it rose to 4.9 %
    # (benchmarks/results/default_settings_ablations.json).
    colours = {"jitter": [0.4, 0.4, 0.2, 0.1]} if facts.gpu else {"jitter_p": 0.0, "gray": 0.0}
    views = [
        view("global", 2, budget.size, (0.3, 1.0), interpolation="bicubic", **colours),
        view("local", 2, max(32, budget.size // 2), (0.05, 0.3), interpolation="bicubic", **colours),
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
        return fields | {
            # In the same 3 minutes, without changes of colour: 2.7 % at 0.2, 4.3 % at 0.1, 4.9 % at 0.05.
            "student_temperature": 0.2 if facts.gpu else 0.05,
            "queue": queue_length(facts, budget.batch, 4096),
            "student_head": head,
        }
    if method == "swav":
        head = {"kind": "swav", "hidden": 512, "bottleneck": 128}
        return fields | {"prototypes": 256, "queue": 512, "student_head": head}
    head = {"kind": "dino", "hidden": 512, "bottleneck": 128, "batch_norm": facts.kind == "cnn", "fixed_gain": True}
    return fields | {"prototypes": 512, "student_head": head}
