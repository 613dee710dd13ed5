"""What default settings follow from: the images, the device and the networks, as plain numbers."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Literal

from lowzoo.catalog.shapes import known_skeleton

# Nobody has to fetch it. Of the two bundled ones it knows far more: its k-NN is 57.8 % on the drawings of the sample
# set and 49.8 % on 5,000 photographs of 64 px, where rob_vit_tiny, its student, has 36.1 and 23.6
# (`benchmarks/bundled_teachers.py`).
BUNDLED_TEACHER = "mobilenetv2_supervised"


@dataclass(frozen=True)
class Facts:
    """What the rules know.

    Args:
        recipe: Name of the recipe.
        images: Training images.
        side: Median of their shorter sides in pixels, over some of them.
        student: timm's name of the student's architecture.
        gpu: Whether the device is one; else it is a CPU.
        teacher_head: Whether the teacher brings the head that the recipe needs; always without a teacher.
        processes: Number of processes of the run.
    """

    recipe: str
    images: int
    side: int
    student: str
    gpu: bool
    teacher_head: bool = True
    processes: int = 1

    @property
    def kind(self) -> Literal["vit", "cnn"]:
        """Kind of the student."""
        return kind_of(self.student)


def kind_of(architecture: str) -> Literal["vit", "cnn"]:
    """Whether a network is made of tokens, which may be dropped, or of convolutions; told by its tensors."""
    names = _tensor_names(architecture)
    patches = any(name.startswith(("patch_embed.", "stem.proj.")) for name in names)
    convolutions = "cls_token" not in names and any(name.endswith(".running_mean") for name in names)
    return "vit" if patches and not convolutions else "cnn"


def has_class_token(architecture: str) -> bool:
    """Whether a network is a ViT with a class token and a table of positions, as the papers' own are."""
    return {"cls_token", "pos_embed"} <= set(_tensor_names(architecture))


@cache
def _tensor_names(architecture: str) -> Collection[str]:
    """Names in the state dict of a network; of one that nobody knows none, as it is refused by its name later."""
    if (known := known_skeleton(architecture)) is not None:
        return frozenset(known.shapes)
    import timm
    import torch

    if not timm.is_model(architecture):
        return ()
    with torch.device("meta"):
        return frozenset(timm.create_model(architecture).state_dict())
