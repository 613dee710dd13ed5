"""A backbone with a projection head, fed with views of several sizes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from lowzoo.base.errors import LowzooError
from lowzoo.catalog import near_matches, student_architecture
from lowzoo.preprocess.sizes import check_takes
from lowzoo.train.networks.residual import zero_residual_branches
from lowzoo.train.networks.tokens import MaskedEmbedding, TokenDrop, patch_tokens
from lowzoo.train.networks.warm_start import check_architecture
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.zoo.architectures.positions import set_position_rule


class Encoded(NamedTuple):
    """What an encoder makes of its views; global views first.

    Args:
        scores: (V, B, K) of the head.
        bottleneck: (V, B, D') before the head's last, linear layer; the scores where it has none.
        patches: (G, B, N, K) scores of the masked views' patches; None without a mask.
        mapped: (G, B, E) features of the first group's views in another model's space; None without a map there.
    """

    scores: Tensor
    bottleneck: Tensor
    patches: Tensor | None = None
    mapped: Tensor | None = None


class MultiViewEncoder(nn.Module):
    """Backbone and head; views of one size go through the backbone in one forward pass.

    Args:
        backbone: (N, 3, S, S) to features (N, D).
        head: Features (N, D) to scores (N, K).
        masked: Make the learned embedding that stands in for masked patches; the backbone is a ViT.
        layout: How images lie in memory.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        *,
        masked: bool = False,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        # What a head can do beyond being called depends on its kind.
        self.head: Any = head
        self.masked = MaskedEmbedding(backbone) if masked else None
        self.layout = layout
        # Given by whoever trains it: from features (N, D) into another model's space (N, E). Registered last, so that
        # it changes nothing in the order of all others.
        self.compatible: nn.Module | None = None

    def forward(self, groups: Sequence[Tensor], mask_GBN: Tensor | None = None) -> Encoded:
        """Encode groups of views.

        Args:
            groups: One tensor (count, B, 3, S, S) a size; the global one first.
            mask_GBN: True where a patch of a global view is replaced by the learned embedding.
        """
        count, images = groups[0].shape[:2]
        features, patches = [], None
        for number, group in enumerate(groups):
            flat = group.flatten(0, 1).contiguous(memory_format=self.layout)
            _set_token_drop(self.backbone, number == 0)
            if number == 0 and mask_GBN is not None and self.masked is not None:
                with self.masked.replacing(mask_GBN.flatten(0, 1)):
                    cls_features, patch_features = patch_tokens(self.backbone, flat)
                features.append(cls_features)
                patches = self.head.patch_scores(patch_features).unflatten(0, (count, images))
            else:
                features.append(self.backbone(flat))
        stacked = torch.cat(features)
        if hasattr(self.head, "bottleneck"):
            bottleneck = self.head.bottleneck(stacked)
            scores = self.head.scores(bottleneck)
        else:
            scores = bottleneck = self.head(stacked)
        mapped = None
        if self.compatible is not None:
            mapped = self.compatible(features[0]).unflatten(0, (count, images))
        return Encoded(scores.unflatten(0, (-1, images)), bottleneck.unflatten(0, (-1, images)), patches, mapped)


@contextmanager
def told_of_single_images() -> Iterator[None]:
    """Turn what batch norms say of a single image into advice.

    Raises:
        LowzooError: A batch norm had a single value of each channel.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise LowzooError(
            "a batch norm has one value of each channel, of which there are no statistics",
            "Let two images at least go through the networks at once: a larger --batch-size, or fewer parts of it "
            "(--set accumulate=...)",
        ) from None


def create_student(config: TrainConfig) -> nn.Module:
    """A randomly initialised, headless student for the views of a run.

    `lowzoo.train.networks.warm_start` fills it with others.

    Raises:
        LowzooError: Unknown architecture, or one that cannot take these views.
    """
    architecture = student_architecture(config.student, config.recipe)
    if not timm.is_model(architecture):
        near = near_matches(config.student, [*timm.list_models(), "vit_tiny", "resnet18", "mobilenetv3_large"])
        raise LowzooError(
            f"unknown student {config.student!r}{near}", "Name a student of `lowzoo list` or a timm architecture"
        )
    if "." in architecture:
        plain = architecture.partition(".")[0]
        raise LowzooError(
            f"--student {config.student} names weights, and a student is an architecture",
            f"Use --student {plain}, and --init {config.student} to start from these weights",
        )
    if config.init:
        check_architecture(config.init, config.student, architecture)
    arguments: dict[str, object] = {}
    known = timm.get_pretrained_cfg(architecture)
    is_vit = known is not None and known.fixed_input_size
    size = config.global_size
    if is_vit:
        arguments = {"img_size": size, "drop_path_rate": config.drop_path}
        if len({group.size for group in config.views}) > 1:
            arguments["dynamic_img_size"] = True
    elif config.patch_drop:
        raise LowzooError(f"patch_drop needs a ViT, and {config.student} is none", "Add --set patch_drop=0")
    elif getattr(config, "loss", "") == "ibot":
        raise LowzooError(
            f"loss ibot has a patch term, and {config.student} has no patches",
            "Choose a ViT as student, or another loss",
        )
    try:
        student: nn.Module = timm.create_model(architecture, pretrained=False, num_classes=0, **arguments)
    except (TypeError, AssertionError, ValueError) as error:
        raise LowzooError(
            f"{config.student} cannot take views of {size} px with these settings ({error})",
            "Give all views one size that it takes"
            if "dynamic_img_size" in str(error)
            else "Change the sizes of the views",
        ) from error
    if config.zero_init_residual and not config.init:
        zero_residual_branches(student)
    for side, name in {group.size: group.name for group in reversed(config.views)}.items():
        try:
            check_takes(student, side, f"the student {config.student}")
        except LowzooError as error:
            raise LowzooError(error.message, f"{error.remedy}, by --set view.{name}.size=...") from None
    if config.patch_drop:
        student.patch_drop = TokenDrop(config.patch_drop, per_image=config.patch_drop_per == "image")
    if is_vit and config.positions != "timm":
        set_position_rule(student, config.positions)
    return student


def feature_width(backbone: nn.Module, size: int) -> int:
    """Width D of a backbone's features, by running it on one blank image of `size` px."""
    training = backbone.training
    backbone.eval()
    with torch.no_grad():
        device = next(backbone.parameters()).device
        width = backbone(torch.zeros(1, 3, size, size, device=device)).shape[-1]
    backbone.train(training)
    return int(width)


def _set_token_drop(backbone: nn.Module, active: bool) -> None:
    drop = getattr(backbone, "patch_drop", None)
    if isinstance(drop, TokenDrop):
        drop.active = active
