"""What settings follow from: the images, the device and the networks, as plain numbers."""

from collections.abc import Mapping
from hashlib import sha256
from statistics import median
from typing import Any

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.base.notes import say_once
from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.source import ImageSource
from lowzoo.data.splits import SAMPLES_NAME
from lowzoo.evaluate.knn_protocol import spared
from lowzoo.system.device import cpu_multiplies_bf16, pick_device
from lowzoo.train.recipes import RECIPES
from lowzoo.train.recipes.facts import Facts, width_of
from lowzoo.train.teachers import brings_head
from lowzoo.zoo.find import architecture_of

# Images that are looked at for their size; spread over the set, but the first ones of a stream.
_PROBED = 24
_FEWEST = 2


def look(recipe: str, source: ImageSource, fields: Mapping[str, Any], processes: int) -> Facts:
    """Look at the images and the machine.

    Args:
        recipe: Name of the recipe.
        source: Training images.
        fields: What the user has named.
        processes: Number of processes in the run.

    Raises:
        LowzooError: Fewer than two images, or none that differ.
    """
    if len(source) < _FEWEST:
        raise LowzooError(
            f"{source.name} holds {len(source)} image{'s' * (len(source) != 1)}, and nothing can be learned from it",
            "Name a folder with more images by --data",
        )
    declared = RECIPES[recipe]
    needs, teacher = declared.needs, declared.teacher_of(fields)
    own_head = not needs.teacher or brings_head(teacher, prototypes=needs.prototypes)
    device = pick_device(str(fields.get("device", "auto")))
    return Facts(
        recipe=recipe,
        images=len(source),
        side=_side(source),
        student=catalog.student_architecture(str(fields.get("student", declared.student)), recipe),
        gpu=device.type != "cpu",
        fast_bf16=device.type == "cpu" and cpu_multiplies_bf16(),
        teacher_head=own_head,
        processes=processes,
        teacher=teacher,
        teacher_width=0 if own_head else _width(teacher),
        spared=spared(source),
        drawings=source.name.startswith(f"{SAMPLES_NAME}/"),
    )


def _width(teacher: str) -> int:
    entry = catalog.teachers().get(teacher)
    if entry is not None and not entry.model:
        return width_of(entry.architecture)
    try:
        return width_of(architecture_of(entry.model if entry else teacher))
    except LowzooError:  # said where the teacher is loaded
        return 0


def _side(source: ImageSource) -> int:
    """The median shorter side of some images; that of none that can be read is said where the run begins."""
    step = 1 if source.streamed else max(1, len(source) // _PROBED)
    # By digest, as a whole photograph may take 100 MB.
    sides, digests = [], []
    for index in range(0, min(len(source), _PROBED * step), step):
        try:
            pixels = source.pixels(index)
        except BadImage:
            continue
        sides.append(min(pixels.shape[:2]))
        digests.append(sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest())
    tried, different = len(digests), len(set(digests))
    if tried > 1 and different == 1:
        raise LowzooError(
            f"all of {tried} images tried in {source.name} are the same picture",
            "Name a folder of different images by --data",
        )
    if tried and 2 * different <= tried:
        say_once(
            f"{tried} images tried in {source.name} are copies of {different} pictures, and so many alone can "
            "teach; `lowzoo data SRC` finds copies"
        )
    return int(median(sides)) if sides else 1
