"""What decides the layers of a detector: plain values that presets name and a run folder keeps."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator


def _rising(strides: tuple[int, ...]) -> tuple[int, ...]:
    if not strides or list(strides) != sorted({*strides}) or any(s < 4 or s & (s - 1) for s in strides):
        raise ValueError(f"the strides {strides} are not rising powers of two from 4 on")
    return strides


class DetectorShape(BaseModel):
    """Layers and counts of a detector; the defaults are detectron2's for a pyramid over a ResNet.

    Args:
        kind: "fpn", a pyramid over several maps; or "c4", proposals on the map of stride 16, and the last stage of a
            ResNet on each region.
        strides: Strides of the maps below the pyramid, rising; a level of half the last resolution comes on top.
        head_map: Take the last map behind the convolution that ends the network (1280 channels of MobileNetV2).
        attention: Whether the tokens of a ViT look at all of the image, or only those of every fourth block do.
        window: Side of the windows of the other blocks, in patches.
        spatial_prior: Add maps of a few convolutions on the image to the pyramid over a ViT, whose patches are coarse.
        channels: Channels of the pyramid.
        pyramid_norm: Norm behind the convolutions of the pyramid over a CNN; a ViT's pyramid has layer norms.
        anchor_sizes: Sides of the anchors in pixels, a row a level, the finest first.
        aspect_ratios: Height by width of the anchors.
        canonical_size: Side of a region in pixels that is read off the level of stride 16.
        pre_nms: Proposals a level before suppression, in training and testing.
        post_nms: Proposals an image after it, in training and testing.
        anchor_batch: Anchors an image whose loss is taken.
        region_batch: Regions an image whose loss is taken.
        hidden: Width of the two layers on each region.
        mask_convs: Convolutions of the mask head.
        mask_channels: Their width.
        extra_norm: A batch norm behind the last stage of "c4".
        score_threshold: Least score of a detection.
        detections: Most detections an image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["fpn", "c4"] = "fpn"
    strides: Annotated[tuple[int, ...], AfterValidator(_rising)] = (4, 8, 16, 32)
    head_map: bool = False
    attention: Literal["global", "window"] = "global"
    window: int = 14
    spatial_prior: bool = False
    channels: int = 256
    pyramid_norm: Literal["", "batch"] = ""
    anchor_sizes: tuple[tuple[float, ...], ...] = ((32,), (64,), (128,), (256,), (512,))
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    canonical_size: int = 224
    pre_nms: tuple[int, int] = (2000, 1000)
    post_nms: tuple[int, int] = (1000, 1000)
    anchor_batch: int = 256
    region_batch: int = 512
    hidden: int = 1024
    mask_convs: int = 4
    mask_channels: int = 256
    extra_norm: bool = False
    score_threshold: float = 0.05
    detections: int = 100

    @model_validator(mode="after")
    def _fits(self) -> "DetectorShape":
        levels = 1 if self.kind == "c4" else len(self.strides) + 1
        if len(self.anchor_sizes) != levels:
            raise ValueError(f"there are {len(self.anchor_sizes)} rows of anchor sizes for {levels} levels")
        if len({len(row) for row in self.anchor_sizes}) != 1 or not self.anchor_sizes[0] or not self.aspect_ratios:
            raise ValueError("each level needs anchors, equally many of them")
        return self

    @property
    def anchors(self) -> int:
        """Anchors at each place."""
        return len(self.anchor_sizes[0]) * len(self.aspect_ratios)

    @property
    def divisor(self) -> int:
        """What both sides of a batch of images are multiples of."""
        return max(self.strides)
