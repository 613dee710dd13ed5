"""What the default settings of several recipes are made of."""

from collections.abc import Mapping
from typing import Any

from lowzoo import catalog
from lowzoo.train.recipes.facts import BUNDLED_TEACHER, FEW_SEEN, Facts

# Width of the student's embedding before the prototypes: fitted ones, and those of the bundled models' heads.
BOTTLENECK = 128


def view(name: str, count: int, size: int, scale: tuple[float, float], **more: Any) -> dict[str, Any]:
    """A group of views as a configuration has it."""
    return {"name": name, "count": count, "size": size, "scale": list(scale), **more}


def teacher_fields(facts: Facts, named: Mapping[str, Any], size: int) -> dict[str, Any]:
    """The bundled teacher, or prototypes fitted to the embeddings of one without a head."""
    fields: dict[str, Any] = {"teacher": named.get("teacher", BUNDLED_TEACHER)}
    entry = catalog.teachers().get(fields["teacher"])
    if entry is not None and size < (entry.least_view or 0):
        fields["teacher_size"] = entry.least_view
    if not facts.teacher_head:
        prototypes = 2
        while prototypes < 1024 and prototypes * 8 <= facts.images:
            prototypes *= 2
        # So many principal axes need more images than that, some of which may be held out or unreadable.
        axes = BOTTLENECK
        while axes > 2 and axes * 2 > facts.images:
            axes //= 2
        fields |= {"teacher_head": "fitted", "prototypes": prototypes, "fitted_bottleneck": axes}
    return fields


def caution_of_vit(facts: Facts, init: str, seen: float) -> str:
    """A ViT of random weights on few images (rows vit_tiny of `benchmarks/default_settings.py`)."""
    if facts.kind != "vit" or init or seen > FEW_SEEN or facts.images > 2_500:
        return ""
    return (
        "Too few images for a ViT of random weights: after 3 minutes on 1,254 drawings k-NN had not risen by more than "
        f"its error, whoever taught. A CNN (--student mobilenetv2) learns from as few; or {beginning_for(facts)}"
    )


def beginning_for(facts: Facts) -> str:
    """What to say of weights to begin at: those in the package where they are of the student's own architecture."""
    bundled = (entry for entry in catalog.models().values() if any(each.path for each in entry.weights))
    name = next((entry.name for entry in bundled if facts.student in (entry.name, entry.architecture)), "MODEL")
    return f"begin at trained weights (--init {name})"


def queue_length(facts: Facts, batch: int, most: int) -> int:
    """Whole batches, and of the past half epoch at most, so that no image meets itself."""
    return max(1, min(most, facts.images // 2) // batch) * batch
