"""What settings follow from: the images, the device and the networks, as plain numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import numpy as np

from lowzoo import catalog
from lowzoo.data.decode import BadImage
from lowzoo.data.source import ImageSource
from lowzoo.errors import LowzooError
from lowzoo.evaluate.device import pick_device
from lowzoo.train.teachers import brings_head

# Nobody has to fetch it, and its head ends in prototypes.
BUNDLED_TEACHER = "rob_vit_tiny"
DEFAULT_STUDENTS = {"rob": "vit_tiny", "seed": "resnet18", "sslight": "mobilenetv2"}
# Images that are looked at for their size; spread over the set, but the first ones of a stream.
_PROBED = 24
_FEWEST = 2


@dataclass(frozen=True)
class Facts:
    """What the rules know.

    Args:
        recipe: rob, seed or sslight.
        images: Training images.
        side: Median of their shorter sides in pixels, over some of them.
        student: timm's name of the student's architecture.
        accelerator: Whether the device is one; else it is a processor.
        teacher_head: Whether the teacher brings the head that the recipe needs; always without a teacher.
        processes: Number of processes in the run.
    """

    recipe: Literal["rob", "seed", "sslight"]
    images: int
    side: int
    student: str
    accelerator: bool
    teacher_head: bool = True
    processes: int = 1

    @property
    def kind(self) -> Literal["vit", "cnn"]:
        """Kind of student: made of tokens, which may be dropped, or of convolutions with batch norms."""
        words = ("vit_", "deit", "beit", "eva", "mixer")
        return "vit" if self.student.startswith(words) else "cnn"


def look(recipe: str, source: ImageSource, fields: Mapping[str, Any], processes: int) -> Facts:
    """Look at the images and the machine.

    Args:
        recipe: rob, seed or sslight.
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
    return Facts(
        recipe=recipe,  # type: ignore[arg-type]
        images=len(source),
        side=_side(source),
        student=catalog.student_architecture(str(fields.get("student", DEFAULT_STUDENTS[recipe])), recipe),
        accelerator=pick_device(str(fields.get("device", "auto"))).type != "cpu",
        teacher_head=brings_head(str(fields.get("teacher", BUNDLED_TEACHER)), prototypes=recipe == "rob"),
        processes=processes,
    )


def _side(source: ImageSource) -> int:
    """The median shorter side of some images; that of none that can be read is said where the run begins."""
    step = 1 if source.streamed else max(1, len(source) // _PROBED)
    sides, pictures = [], []
    for index in range(0, min(len(source), _PROBED * step), step):
        try:
            pixels = source.pixels(index)
        except BadImage:
            continue
        sides.append(min(pixels.shape[:2]))
        pictures.append(pixels)
    if len(pictures) > 1 and all(np.array_equal(pictures[0], other) for other in pictures[1:]):
        raise LowzooError(
            f"all of {len(pictures)} images tried in {source.name} are the same picture",
            "Name a folder of different images by --data",
        )
    return int(median(sides)) if sides else 1
