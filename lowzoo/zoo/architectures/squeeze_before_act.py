"""MobileNetV3 with squeeze-excite before the activation, as SEED has it (jacobswan1/SEED f236cac).

In an expanded block with squeeze-excite SEED's order is depthwise convolution, norm, squeeze-excite, activation; timm
has the activation before the squeeze-excite. The weights fit both, and through timm's the features are off by up to 2.6
on a scale of 13.
"""

from typing import Any

from timm.models import model_entrypoint
from torch import Tensor, nn


class SqueezeThenAct(nn.Module):
    """The squeeze-excite of a block, followed by the activation that stood before it.

    Args:
        squeeze: timm's squeeze-excite, whose parts keep their names.
        activation: Activation of the norm that stands before it.
    """

    def __init__(self, squeeze: Any, activation: nn.Module) -> None:
        super().__init__()
        self.conv_reduce = squeeze.conv_reduce
        self.act1 = squeeze.act1
        self.conv_expand = squeeze.conv_expand
        self.gate = squeeze.gate
        self.activation = activation

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        weights_BC11: Tensor = self.conv_expand(self.act1(self.conv_reduce(x_BCHW.mean((2, 3), keepdim=True))))
        activated: Tensor = self.activation(x_BCHW * self.gate(weights_BC11))
        return activated


def create_squeeze_before_act(architecture: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Create a MobileNetV3; arguments as for any timm entry point, after the name of timm's architecture."""
    model: nn.Module = model_entrypoint(architecture)(pretrained=pretrained, **kwargs)
    for block in list(model.modules()):
        if hasattr(block, "conv_pwl") and isinstance(getattr(block, "se", None), nn.Module):
            if isinstance(block.se, nn.Identity):
                continue
            block.se = SqueezeThenAct(block.se, block.bn2.act)  # type: ignore[arg-type,union-attr]
            block.bn2.act = nn.Identity()  # type: ignore[union-attr]
    return model
