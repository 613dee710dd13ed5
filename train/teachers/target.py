"""The model whose embedding space a student is to keep: a frozen network without a head, fed as it wants to be.

It sees the views that the student sees. A view is what a crop leaves of the picture, so of the model's own preparation
its size, its filter and its normalisation hold for it, and not its centre crop.
"""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lowzoo.base.errors import LowzooError
from lowzoo.base.notes import say_once
from lowzoo.features.batch_norms import fold_batch_norms
from lowzoo.preprocess.input_facts import size_text
from lowzoo.train.networks.class_token import shorten_last_block
from lowzoo.train.networks.encoder import feature_width
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.teachers.normalisation import take_imagenet_normalised
from lowzoo.train.teachers.resized import Filter, Resized
from lowzoo.train.teachers.teacher import Teacher, TeacherFacts
from lowzoo.zoo.compatible import CompatibleFacts
from lowzoo.zoo.find import is_published_teacher
from lowzoo.zoo.resolve import load_model

# Images that go through it at once: enlarged views of a whole batch may take more memory than all of the student.
_AT_ONCE = 64


@dataclass(frozen=True)
class Target:
    """A model whose space is kept.

    Args:
        teacher: The network, whose "bottleneck" is its embedding.
        in_parts: Its backbone.
        fed: That without the parts.
        facts: What a run folder says of it.
    """

    teacher: Teacher
    in_parts: "InParts"
    fed: Resized
    facts: CompatibleFacts


class InParts(nn.Module):
    """A frozen network that takes a batch in parts.

    Args:
        network: Images (N, 3, S, S) to embeddings (N, E).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_N3SS: Tensor) -> Tensor:
        """Embeddings (N, E)."""
        return torch.cat([self.network(part) for part in images_N3SS.split(_AT_ONCE)])


class PlainEmbedding(nn.Module):
    """In the place of a head: the embedding is what is to be reproduced.

    Args:
        width: E.
    """

    width: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_dim = width
        self.register_buffer("width", torch.tensor(width))

    def bottleneck(self, embeddings: Tensor) -> Tensor:
        """The embeddings (..., E) as they are."""
        return embeddings

    def scores(self, embeddings: Tensor) -> Tensor:
        """The same."""
        return embeddings


def load_target(config: TrainConfig, features: int) -> Target:
    """The model that a configuration wants a student to be compatible with, on the CPU.

    Args:
        config: Configuration of the run, with `compatible_with`.
        features: Numbers D of the student's feature.

    Raises:
        LowzooError: Unknown model, one that takes no colour pictures or no squares, or an impossible size.
    """
    word, size = word_and_size(config)
    resolved = load_model(word, image_size=size)
    channels, height, width = resolved.input_size
    if channels != 3:
        raise LowzooError(
            f"{resolved.name} takes pictures of {channels} channels, and views have 3",
            "Name a model of RGB pictures with --compatible-with",
        )
    if height != width:
        raise LowzooError(
            f"{resolved.name} takes pictures of {size_text((height, width))} px, and views are square",
            f"Give it a side with --set compatible_size={max(height, width)}, or name another model",
        )
    network = resolved.model
    dimensions = feature_width(network, height)
    facts = CompatibleFacts.of(
        resolved,
        dimensions=dimensions,
        features=features,
        map=config.compatible_map,
        weight=config.compatible_weight,
    )
    # As the run's own teacher is treated, so that both can be the same.
    fold_batch_norms(network)
    shorten_last_block(network)
    take_imagenet_normalised(network, resolved.mean, resolved.std)
    fed = Resized(network, height, _filter(resolved.interpolation, resolved.name))
    about = TeacherFacts(resolved.name, resolved.name, resolved.revision, "", resolved.license)
    in_parts = InParts(fed)
    return Target(Teacher(in_parts, PlainEmbedding(dimensions), about), in_parts, fed, facts)


def word_and_size(config: TrainConfig) -> tuple[str, int | None]:
    """The word that means the model anywhere, and the side in pixels that it is asked for; None for its own."""
    word, size, taught = config.compatible_with, config.compatible_size or None, config.taught
    if taught is not None and word == taught.teacher:
        size = size or taught.teacher_size or config.global_size
        if taught.teacher_file and is_published_teacher(word):
            word = f"{word}@{taught.teacher_file}"
    return word, size


def _filter(interpolation: str, name: str) -> Filter:
    if interpolation == "bilinear":
        return "bilinear"
    if interpolation != "bicubic":
        say_once(f"{name} resizes pictures by {interpolation}; views of another size are resized for it by bicubic")
    return "bicubic"


@torch.no_grad()
def is_same(target: Target, teacher: Teacher, size: int) -> bool:
    """Whether a run's teacher makes of its views what the target makes of them, to the bit.

    Args:
        target: Of the run, on the teacher's device.
        teacher: Of the run.
        size: Side of the global views in pixels.
    """
    ours, theirs, side = target.fed.backbone, teacher.backbone, target.facts.side[0]
    if isinstance(theirs, Resized):
        if int(theirs.size) != side or theirs.by != target.fed.by:
            return False
        theirs = theirs.backbone
    elif side != size:
        return False
    if [type(module) for module in ours.modules()] != [type(module) for module in theirs.modules()]:
        return False
    mine, other = (
        dict(itertools.chain(network.named_parameters(), network.named_buffers())) for network in (ours, theirs)
    )
    if mine.keys() != other.keys() or not all(_equal(value, other[name]) for name, value in mine.items()):
        return False
    # Equal tensors in equal layers may still be joined in another way, such as positions of a ViT.
    probe = torch.linspace(-2, 2, 3 * side * side).view(1, 3, side, side).to(next(iter(other.values())).device)
    return torch.equal(ours(probe), theirs(probe))


def _equal(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.equal(first, second)
