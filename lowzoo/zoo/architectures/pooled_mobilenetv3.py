"""MobileNetV3-Large whose feature is the 960 pooled maps of the last block.

RoB trains on these 960 numbers. In timm the 960-to-1280 layer of the classifier head (`conv_head`) stays even with
`num_classes=0`, and no argument removes it: a RoB student in timm's own class would send its features through a layer
that nobody trained. Here that layer and its activation are the identity, and a classifier sits on the 960 directly.
"""

from typing import Any

from timm.models import load_pretrained, model_entrypoint
from torch import nn


def create_pooled_mobilenetv3(architecture: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Create the model; arguments as for any timm entry point, after the name of timm's architecture.

    Returns:
        timm's MobileNetV3, (B, 3, H, W) to (B, 960), or to (B, num_classes); its feature network for `features_only`.
    """
    build = model_entrypoint(architecture)
    if kwargs.get("features_only"):
        # timm's feature network ends before the head.
        features: nn.Module = build(pretrained=pretrained, **kwargs)
        return features
    cache_dir = kwargs.pop("cache_dir", None)
    model = build(pretrained=False, **kwargs)
    model.conv_head = nn.Identity()
    model.act2 = nn.Identity()
    model.head_hidden_size = model.num_features
    model.reset_classifier(model.num_classes, model.global_pool.pool_type)
    if pretrained:
        load_pretrained(
            model,
            pretrained_cfg=model.pretrained_cfg,
            num_classes=model.num_classes,
            in_chans=model.conv_stem.in_channels,
            cache_dir=cache_dir,
        )
    pooled: nn.Module = model
    return pooled
