"""A backbone with a projection head, fed with views of several sizes."""

from collections.abc import Sequence

import timm
import torch
from torch import Tensor, nn

from lowzoo.catalog import near_matches, student_architecture
from lowzoo.errors import LowzooError


class MultiViewEncoder(nn.Module):
    """Backbone and head; views of one size go through the backbone in one forward pass.

    Args:
        backbone: (N, 3, S, S) to features (N, D).
        head: Features (N, D) to scores (N, K).
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, groups: Sequence[Tensor]) -> Tensor:
        """Scores (V, B, K) of groups of views, each (count, B, 3, S, S); global views first."""
        images = groups[0].shape[1]
        features = torch.cat(
            [self.backbone(group.flatten(0, 1).contiguous(memory_format=torch.channels_last)) for group in groups]
        )
        scores: Tensor = self.head(features)
        return torch.unflatten(scores, 0, (-1, images))


def create_student(student: str, *, size: int, sizes: int, drop_path: float, patch_drop: float) -> nn.Module:
    """A randomly initialised, headless student.

    Args:
        student: Short name (`vit_tiny`) or timm architecture.
        size: Side of the global views; a ViT's position grid is made for it.
        sizes: Number of different view sizes the student will see.
        drop_path: Stochastic depth rate of a ViT.
        patch_drop: Share of patch tokens dropped in training, ViT only.

    Raises:
        LowzooError: Unknown architecture, or one that cannot take these views.
    """
    architecture = student_architecture(student, "rob")
    if not timm.is_model(architecture):
        near = near_matches(student, [*timm.list_models(), "vit_tiny", "resnet18", "mobilenetv3_large"])
        raise LowzooError(
            f"unknown student {student!r}{near}", "Name a student of `lowzoo list` or a timm architecture"
        )
    arguments: dict[str, object] = {}
    config = timm.get_pretrained_cfg(architecture)
    if config is not None and config.fixed_input_size:
        arguments = {"img_size": size, "drop_path_rate": drop_path, "patch_drop_rate": patch_drop}
        if sizes > 1:
            arguments["dynamic_img_size"] = True
    elif patch_drop:
        raise LowzooError(f"patch_drop needs a ViT, and {student} is none", "Add --set patch_drop=0")
    try:
        student_network: nn.Module = timm.create_model(architecture, pretrained=False, num_classes=0, **arguments)
    except (TypeError, AssertionError, ValueError) as error:
        raise LowzooError(
            f"{student} cannot take views of {size} px with these settings ({error})", "Change the sizes of the views"
        ) from error
    return student_network


def use_plain_attention(module: nn.Module) -> None:
    """Switch timm's attention to plain matrix products, which train faster on a processor.

    At the few dozen tokens of small views, the backward pass of torch's fused CPU kernel alone took 29 % of a step;
    without it ViT-Tiny trains 1.4 times as many images a second.
    """
    for child in module.modules():
        if hasattr(child, "fused_attn"):
            child.fused_attn = False  # type: ignore[assignment]  # declared per class, not on Module


def feature_width(backbone: nn.Module, size: int) -> int:
    """Width D of a backbone's features, by running it on one blank image of `size` px."""
    training = backbone.training
    backbone.eval()
    with torch.no_grad():
        device = next(backbone.parameters()).device
        width = backbone(torch.zeros(1, 3, size, size, device=device)).shape[-1]
    backbone.train(training)
    return int(width)
