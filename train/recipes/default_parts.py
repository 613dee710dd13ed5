"""What the default settings of several recipes are made of."""

from collections.abc import Mapping
from typing import Any

from lowzoo.train.recipes.facts import BUNDLED_TEACHER, BUNDLED_TEACHER_SIDE, FEW_SEEN, Facts

# Width of the student's embedding before the prototypes, fitted ones and those of rob_vit_tiny.
BOTTLENECK = 128


def view(name: str, count: int, size: int, scale: tuple[float, float], **more: Any) -> dict[str, Any]:
    """A group of views as a configuration has it."""
    return {"name": name, "count": count, "size": size, "scale": list(scale), **more}


def teacher_fields(facts: Facts, named: Mapping[str, Any], size: int) -> dict[str, Any]:
    """The bundled teacher, or prototypes fitted to the embeddings of one without a head."""
    fields: dict[str, Any] = {"teacher": named.get("teacher", BUNDLED_TEACHER)}
    if fields["teacher"] == BUNDLED_TEACHER and size < BUNDLED_TEACHER_SIDE:
        fields["teacher_size"] = BUNDLED_TEACHER_SIDE
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
        "its error, whoever taught. --student mobilenetv2 learns from as few; or begin at --init rob_vit_tiny"
    )


def queue_length(facts: Facts, batch: int, most: int) -> int:
    """Whole batches, and of the past half epoch at most, so that no image meets itself."""
    return max(1, min(most, facts.images // 2) // batch) * batch
