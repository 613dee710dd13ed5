"""What the default settings of several recipes are made of."""

from collections.abc import Mapping
from typing import Any

from lowzoo import catalog
from lowzoo.train.recipes.facts import Facts

# Width of the student's embedding before the prototypes: fitted ones, and those of the bundled models' heads.
BOTTLENECK = 128
# Fitted where the user names no number, and images for each.
_MOST_PROTOTYPES, _IMAGES_EACH = 1024, 8
# No changes of colour.
_PLAIN = {"jitter_p": 0.0, "gray": 0.0}


def view(name: str, count: int, size: int, scale: tuple[float, float], **more: Any) -> dict[str, Any]:
    """A group of views as a configuration has it."""
    return {"name": name, "count": count, "size": size, "scale": list(scale), **more}


def named_size(named: Mapping[str, Any]) -> int | None:
    """Side of the global views where the user has named it; impossible values are refused elsewhere."""
    change = named.get("view", {}).get("global")
    size = change.get("size") if isinstance(change, Mapping) else None
    if size is None and "views" in named:
        size = next((dict(each).get("size") for each in named["views"] if dict(each).get("name") == "global"), None)
    return int(size) if size is not None and str(size).isdecimal() and int(size) else None


def teacher_fields(facts: Facts, named: Mapping[str, Any], size: int, bottleneck: int = BOTTLENECK) -> dict[str, Any]:
    """The teacher, and prototypes fitted to the embeddings of one without a head.

    Args:
        facts: Facts of data and machine.
        named: Fields that the user has named.
        size: Side of the global views in pixels.
        bottleneck: Principal axes of fitted prototypes, if there are images enough.
    """
    fields: dict[str, Any] = {"teacher": named.get("teacher", facts.teacher)}
    entry = catalog.teachers().get(fields["teacher"])
    if entry is not None and size < (entry.least_view or 0):
        fields["teacher_size"] = entry.least_view
    if not facts.teacher_head:
        # Impossible numbers are refused elsewhere.
        fitted = str(named.get("fitted_images", ""))
        images = min(facts.images, int(fitted)) if fitted.isdecimal() and int(fitted) else facts.images
        prototypes = 2
        while prototypes < _MOST_PROTOTYPES and prototypes * _IMAGES_EACH <= images:
            prototypes *= 2
        # So many principal axes need more images than that, some of which may be held out or unreadable.
        axes = min(bottleneck, facts.teacher_width or bottleneck)
        while axes > 2 and axes * 2 > images:
            axes //= 2
        # The bundled teacher's MobileNetV3-Large after 3 minutes of two cores on 5,000 photographs: RoB has 10.1 % k-NN
        # on half-whitened axes, 9.5 on plain and 8.7 on white ones; SEED 7.6 on the former and 7.1 on the whole
        # embedding, a regression 8.3 and 7.1 (benchmarks/results/headless_teachers.md).
        fields |= {"teacher_head": "fitted", "prototypes": prototypes, "fitted_bottleneck": axes}
        if not facts.gpu:
            # Embeddings of 20,000 images take 80 s of one core with the bundled teacher, a sixth of five minutes.
            fields["fitted_images"] = max(_MOST_PROTOTYPES, named.get("prototypes", 0)) * _IMAGES_EACH
    return fields


def queue_length(facts: Facts, batch: int, most: int) -> int:
    """Whole batches, and of the past half epoch at most, so that no image meets itself."""
    return max(1, min(most, facts.images // 2) // batch) * batch


def softer_views(facts: Facts, named: Mapping[str, Any], size: int) -> dict[str, Any]:
    """SSLight's views: two global ones, on a GPU two local ones as well, and how much each kind of pair weighs.

    Args:
        facts: Facts of data and machine.
        named: Fields that the user has named.
        size: Side of the global views in pixels.
    """
    views = [view("global", 2, size, (0.3, 1.0), interpolation="bicubic", **_colours(facts))]
    # Minutes on a CPU are too short to gain by local views or by invariance to colour what they cost. MoCo-v2 on
    # MobileNetV3-Large, 3 minutes of two cores on 5,000 photographs: 3.5 % k-NN at the start, 2.0 with changes of
    # colour, 3.2 with local views, 4.9 without either (benchmarks/results/default_settings_ablations.json).
    wanted = facts.gpu if named.get("beta") is None else bool(named["beta"])
    wanted = wanted or "local" in named.get("view", {})
    with_locals = any(dict(each).get("name") == "local" for each in named["views"]) if "views" in named else wanted
    if with_locals:
        side = max(32, size // 2)
        views.append(view("local", 2, side, (0.05, 0.3), interpolation="bicubic", **_colours(facts)))
    alpha, beta = (0.4, 0.6) if with_locals else (1.0, 0.0)
    return {"alpha": alpha, "beta": beta, "views": views}


def taught_view(facts: Facts, size: int, scale: tuple[float, float]) -> dict[str, Any]:
    """The one view of an image that teacher and student both see.

    The teacher's opinion of it is the whole target: a second view of the image is worth less than another image, and
    local views, which cost as much again, less than more steps.

    Args:
        facts: Facts of data and machine.
        size: Its side in pixels.
        scale: Area of the crop, as fractions of the image's.
    """
    # Minutes on a CPU are too short for changes of colour: after 350 steps on 25,000 photographs RoB's ResNet-18 has
    # 13.0 % k-NN instead of 10.6 without them (benchmarks/results/short_distillation.json).
    return view("global", 1, size, scale, **({"gray": 0.1} if facts.gpu else _PLAIN))


def _colours(facts: Facts) -> dict[str, Any]:
    return {"jitter": [0.4, 0.4, 0.2, 0.1]} if facts.gpu else _PLAIN
