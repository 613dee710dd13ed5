"""ResNet-50 with every width multiplied, as SwAV has it (facebookresearch/swav 06b1b7c): `lowzoo_resnet50w2` and `w4`.

timm's `wide_resnet50_2` widens only the inside of its blocks, and timm's stem always is 64 wide. Registered with timm,
so that a converted folder can name them; they are teachers, and no models of the zoo.
"""

from typing import Any, cast

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import Bottleneck, ResNet
from torch import nn

default_cfgs = generate_default_cfgs(
    {
        f"lowzoo_resnet50w{factor}": {
            "num_classes": 0,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
            "first_conv": "conv1",
            "classifier": "fc",
        }
        for factor in (2, 4)
    }
)


class WideResNet50(ResNet):  # type: ignore[misc]  # timm has no types
    """timm's ResNet-50 with all widths times `width`, the stem's and the features' included.

    Args:
        width: Factor of all widths.
        **kwargs: As for timm's `ResNet`.
    """

    def __init__(self, width: int, **kwargs: Any) -> None:
        stem = 64 * width
        super().__init__(Bottleneck, [3, 4, 6, 3], channels=tuple(stem * 2**stage for stage in range(4)), **kwargs)
        channels = cast("Any", self).conv1.in_channels
        self.conv1 = nn.Conv2d(channels, stem, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        first = cast("Any", self.layer1)[0]
        first.conv1 = nn.Conv2d(stem, stem, kernel_size=1, bias=False)
        first.downsample[0] = nn.Conv2d(stem, 4 * stem, kernel_size=1, bias=False)
        self.feature_info[0]["num_chs"] = stem


def _build(variant: str, width: int, pretrained: bool, kwargs: dict[str, Any]) -> nn.Module:
    model: nn.Module = build_model_with_cfg(WideResNet50, variant, pretrained, width=width, **kwargs)
    return model


@register_model  # type: ignore[untyped-decorator]
def lowzoo_resnet50w2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-50 of twice the width; (B, 3, H, W) to (B, 4096)."""
    return _build("lowzoo_resnet50w2", 2, pretrained, kwargs)


@register_model  # type: ignore[untyped-decorator]
def lowzoo_resnet50w4(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-50 of four times the width; (B, 3, H, W) to (B, 8192)."""
    return _build("lowzoo_resnet50w4", 4, pretrained, kwargs)
