"""SSLight's settings where no preset is named. Measured by `benchmarks/default_settings.py`."""

from collections.abc import Mapping
from typing import Any

from lowzoo.train.recipes.default_parts import queue_length, view
from lowzoo.train.recipes.facts import Facts
from lowzoo.train.recipes.recipe import Budget


def defaults(facts: Facts, named: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    """Two global views, on a GPU two local ones as well, and the head that the method needs."""
    method = named.get("method", "moco")
    views = [view("global", 2, budget.size, (0.3, 1.0), interpolation="bicubic", **_colours(facts))]
    # Minutes on a CPU are too short to gain by invariance to colour or by local views what they cost. MoCo-v2 on
    # MobileNetV3-Large, 3 minutes of two cores on 5,000 photographs: 3.5 % k-NN at the start, 2.0 with changes of
    # colour, 3.2 with local views, 4.9 without either (benchmarks/results/default_settings_ablations.json).
    wanted = facts.gpu if named.get("beta") is None else bool(named["beta"])
    wanted = wanted or "local" in named.get("view", {})
    with_locals = _has_locals(named["views"]) if "views" in named else wanted
    if with_locals:
        side = max(32, budget.size // 2)
        views.append(view("local", 2, side, (0.05, 0.3), interpolation="bicubic", **_colours(facts)))
    fields: dict[str, Any] = {
        "method": method,
        "alpha": 0.4 if with_locals else 1.0,
        "beta": 0.6 if with_locals else 0.0,
        "ema": 0.98,
        "ema_end": 1.0,
        "views": views,
    }
    if method == "moco":
        head = {"kind": "moco", "hidden": 512, "bottleneck": 128}
        return fields | {
            # In the same 3 minutes, with those views: 2.7 % at 0.2, 4.3 % at 0.1, 4.9 % at 0.05.
            "student_temperature": 0.2 if facts.gpu else 0.05,
            "queue": queue_length(facts, budget.batch, 4096),
            "student_head": head,
        }
    if method == "swav":
        head = {"kind": "swav", "hidden": 512, "bottleneck": 128}
        return fields | {"prototypes": 256, "queue": queue_length(facts, budget.batch, 512), "student_head": head}
    head = {"kind": "dino", "hidden": 512, "bottleneck": 128, "batch_norm": facts.kind == "cnn", "fixed_gain": True}
    return fields | {"prototypes": 512, "student_head": head}


def _colours(facts: Facts) -> dict[str, Any]:
    return {"jitter": [0.4, 0.4, 0.2, 0.1]} if facts.gpu else {"jitter_p": 0.0, "gray": 0.0}


def _has_locals(views: Any) -> bool:
    """Whether views that a user named have local ones; those of a recipe, named by a word, do."""
    return isinstance(views, str) or any(dict(each).get("name") == "local" for each in views)
