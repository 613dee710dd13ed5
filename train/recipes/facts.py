"""What default settings follow from: the images, the device and the networks, as plain numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from lowzoo.catalog.shapes import known_skeleton

# Nobody has to fetch it. Of the two bundled ones it knows far more: its k-NN is 57.8 % on the drawings of the sample
# set and 49.8 % on 5,000 photographs of 64 px, where its student rob_vit_tiny has 36.1 and 23.6 in its former weights
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
        fast_bf16: Whether a CPU multiplies matrices of bfloat16 in hardware.
        teacher_head: Whether the teacher brings the head that the recipe needs; always without a teacher.
        processes: Number of processes of the run.
        teacher: A word for the teacher; without meaning for a recipe that has none.
        teacher_width: Features of a teacher to whose embeddings prototypes are fitted; 0 where nothing tells.
        spared: Images that are held out at the most, where a set is not divided.
        drawings: Whether the images are the drawings that the package brings along.
    """

    recipe: str
    images: int
    side: int
    student: str
    gpu: bool
    fast_bf16: bool = False
    teacher_head: bool = True
    processes: int = 1
    teacher: str = BUNDLED_TEACHER
    teacher_width: int = 0
    spared: int = 0
    drawings: bool = False

    @property
    def kind(self) -> Literal["vit", "cnn"]:
        """Kind of the student."""
        return kind_of(self.student)


def kind_of(architecture: str) -> Literal["vit", "cnn"]:
    """Whether a network is made of tokens, which may be dropped, or of convolutions; told by its tensors."""
    names = _shapes(architecture)
    patches = any(name.startswith(("patch_embed.", "stem.proj.")) for name in names)
    convolutions = "cls_token" not in names and any(name.endswith(".running_mean") for name in names)
    return "vit" if patches and not convolutions else "cnn"


def has_class_token(architecture: str) -> bool:
    """Whether a network is a ViT with a class token and a table of positions, as the papers' own are."""
    return {"cls_token", "pos_embed"} <= set(_shapes(architecture))


def has_depthwise_kernels(architecture: str) -> bool:
    """Whether a network has convolutions of one channel each, as MobileNets and ConvNeXts have."""
    return any(len(shape) == 4 and shape[1] == 1 < shape[2] for shape in _shapes(architecture).values())


@cache
def width_of(architecture: str) -> int:
    """Number of features of a network; 0 of one that nobody knows."""
    import timm
    import torch

    if not timm.is_model(architecture):
        return 0
    with torch.device("meta"):
        network = timm.create_model(architecture, num_classes=0)
    return min(int(network.num_features), int(getattr(network, "head_hidden_size", network.num_features)))


@cache
def _shapes(architecture: str) -> Mapping[str, tuple[int, ...]]:
    """Tensors in the state dict of a network; of one that nobody knows none, as it is refused by its name later."""
    if (known := known_skeleton(architecture)) is not None:
        return known.shapes
    import timm
    import torch

    if not timm.is_model(architecture):
        return {}
    with torch.device("meta"):
        tensors = timm.create_model(architecture).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
