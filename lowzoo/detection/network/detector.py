"""A whole detector: Faster R-CNN, or Mask R-CNN where it has masks, on a backbone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from timm.models.resnet import ResNet
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from lowzoo.base.errors import LowzooError
from lowzoo.catalog.position_rules import Rule
from lowzoo.detection.network.heads import Heads, MaskHead, StageOnRegions, Target, TwoLayers
from lowzoo.detection.network.maps import level_name, pyramid_of
from lowzoo.detection.network.proposals import Proposals
from lowzoo.detection.network.regions import RegionPool
from lowzoo.detection.network.shape import DetectorShape

_BOX_SIDE, _MASK_SIDE, _C4_SIDE = 7, 14, 14


@dataclass(frozen=True)
class Backbone:
    """A headless network and what must be known to build it again.

    Args:
        network: Is taken over and changed.
        name: What it is called.
        revision: Which weights.
        architecture: What `timm.create_model` takes.
        arguments: Further arguments for it.
        positions: How a ViT resamples its position embeddings.
        mean: Mean of the normalisation, in [0, 1].
        std: Standard deviation of the normalisation, in [0, 1].
    """

    network: nn.Module
    name: str
    revision: str
    architecture: str
    arguments: dict[str, Any] = field(default_factory=dict)
    positions: Rule = "timm"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


class Detector(nn.Module):
    """Images to losses or to detections.

    Args:
        backbone: What it stands on.
        shape: Its layers.
        classes: K, without the background.
        masks: Whether it gives masks.
        mean: Gives the mean of a number over all processes.

    Raises:
        LowzooError: The backbone gives no maps that fit.
    """

    def __init__(
        self,
        backbone: Backbone,
        shape: DetectorShape,
        classes: int,
        *,
        masks: bool,
        mean: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> None:
        super().__init__()
        self.shape, self.masks = shape, masks
        stage, width = _last_stage(backbone) if shape.kind == "c4" else (None, 0)
        pyramid: Any = pyramid_of(backbone.network, shape, backbone.name, backbone.positions)
        self.pyramid = pyramid
        strides = shape.strides if shape.kind == "c4" else (*shape.strides, 2 * shape.strides[-1])
        self.levels = {level_name(stride): stride for stride in strides}
        self.rpn = Proposals(shape, strides, int(pyramid.widths[0]))
        read = {level_name(stride): stride for stride in shape.strides}
        mask_pool: RegionPool | None = None
        mask_head: nn.Module | None = None
        box_head: nn.Module
        if stage is not None:
            pool = RegionPool(read, _C4_SIDE, shape.canonical_size)
            box_head = StageOnRegions(stage, width, extra_norm=shape.extra_norm)
            if masks:
                mask_head = MaskHead(width, classes, shape)
        else:
            pool = RegionPool(read, _BOX_SIDE, shape.canonical_size)
            box_head, width = TwoLayers(shape.channels * _BOX_SIDE**2, shape.hidden), shape.hidden
            if masks:
                mask_pool = RegionPool(read, _MASK_SIDE, shape.canonical_size)
                mask_head = MaskHead(shape.channels, classes, shape)
        self.heads = Heads(shape, pool, box_head, width, classes, mask_pool, mask_head, mean)

    def forward(
        self,
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
        targets: list[Target] | None = None,
        keys: Sequence[int] = (),
    ) -> Any:
        """Losses by name in training, else detections of each image.

        Args:
            images: (B, 3, H, W), normalised; each at the upper left, the rest 0; sides are multiples of
                `shape.divisor`.
            sizes: (h, w) of each image.
            targets: Of each image boxes (M, 4) as corners, labels (M,) from 1 on, and masks (M, H, W).
            keys: A whole number for each image, on which the random samples depend.
        """
        levels = self.pyramid(images)
        # Boxes need more digits than bfloat16 has.
        levels = {name: level.float() for name, level in levels.items()}
        for part in (self.rpn, self.heads):
            part.fg_bg_sampler.keys = keys
        whole = ImageList(images, list(sizes))
        proposals, losses = self.rpn(whole, levels, targets)
        detections, more = self.heads(levels, proposals, list(sizes), targets)
        return {**losses, **more} if self.training else detections


def _last_stage(backbone: Backbone) -> tuple[nn.Module, int]:
    """The last stage of a ResNet, which is taken out of it, and its width."""
    network: Any = backbone.network
    if not isinstance(network, ResNet):
        raise LowzooError(
            f"a C4 detector ends in the last stage of a ResNet, and {backbone.name} is none", "Take an FPN preset"
        )
    stage, width = network.layer4, int(network.num_features)
    return stage, width


def parameters_by_part(detector: Detector) -> dict[str, int]:
    """Parameters that are trained: of the backbone, the pyramid, proposals, box and mask heads."""
    parts: dict[str, Sequence[nn.Module | None]] = {
        "backbone": (getattr(detector.pyramid, "maps", None) or detector.pyramid.vit,),
        "pyramid": tuple(getattr(detector.pyramid, name, None) for name in ("fpn", "scales", "prior")),
        "proposals": (detector.rpn,),
        "boxes": (detector.heads.box_head, detector.heads.box_predictor),
        "masks": (detector.heads.mask_head,),
    }
    return {
        name: sum(p.numel() for part in found if part is not None for p in part.parameters() if p.requires_grad)
        for name, found in parts.items()
    }
