"""SSLight's settings where no preset is named. Measured by `benchmarks/default_settings.py`."""

from collections.abc import Mapping
from typing import Any

from lowzoo.train.recipes.default_parts import queue_length, view
from lowzoo.train.recipes.facts import Facts
from lowzoo.train.recipes.recipe import Budget


def defaults(facts: Facts, named: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    """Its views, and the head that the method needs."""
    method = named.get("method", "moco")
    fields = {"method": method, "ema": 0.98, "ema_end": 1.0, **softer_views(facts, named, budget.size)}
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


def softer_views(facts: Facts, named: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Two global views, on a GPU two local ones as well, and how much each kind of pair weighs.

    Args:
        facts: Facts of data and machine.
        named: Fields that the user has named.
        size: Side of the global views in pixels.
    """
    views = [view("global", 2, size, (0.3, 1.0), interpolation="bicubic", **_colours(facts))]
    # Minutes on a CPU are too short to gain by invariance to colour or by local views what they cost. MoCo-v2 on
    # MobileNetV3-Large, 3 minutes of two cores on 5,000 photographs: 3.5 % k-NN at the start, 2.0 with changes of
    # colour, 3.2 with local views, 4.9 without either (benchmarks/results/default_settings_ablations.json).
    wanted = facts.gpu if named.get("beta") is None else bool(named["beta"])
    wanted = wanted or "local" in named.get("view", {})
    with_locals = wanted if isinstance(named.get("views", ""), str) else _has_locals(named["views"])
    if with_locals:
        side = max(32, size // 2)
        views.append(view("local", 2, side, (0.05, 0.3), interpolation="bicubic", **_colours(facts)))
    alpha, beta = (0.4, 0.6) if with_locals else (1.0, 0.0)
    return {"alpha": alpha, "beta": beta, "views": views}


def _colours(facts: Facts) -> dict[str, Any]:
    return {"jitter": [0.4, 0.4, 0.2, 0.1]} if facts.gpu else {"jitter_p": 0.0, "gray": 0.0}


def _has_locals(views: Any) -> bool:
    """Whether views that a user named have local ones."""
    return any(dict(each).get("name") == "local" for each in views)
