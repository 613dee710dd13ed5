"""EfficientNet-B0 and B1 whose padding is fixed, as SEED has them (jacobswan1/SEED f236cac).

TensorFlow's "SAME" padding depends on the size of the input. SEED's code works it out once, for 224 px (B0) or 240 px
(B1), and keeps it for every input; timm's `tf_efficientnet_*` works it out anew. They differ at 240 px for B0, and for
B1 at every size but 240 px, while SEED trained and evaluated at 224 px: up to 6.2 on features of a scale of 19.
"""

from typing import Any, cast

from timm.models import model_entrypoint
from torch import Tensor, nn
from torch.nn.functional import pad

_NOMINAL_SIZES = {"tf_efficientnet_b0": 224, "tf_efficientnet_b1": 240}


class FixedPadConv2d(nn.Conv2d):
    """A convolution after zero padding that may differ between its sides.

    Args:
        source: The convolution whose weights and settings it takes over; its own padding is left aside.
        before: Pixels left and above.
        after: Pixels right and below.
    """

    def __init__(self, source: nn.Conv2d, before: int, after: int) -> None:
        super().__init__(
            source.in_channels,
            source.out_channels,
            cast("tuple[int, int]", source.kernel_size),
            stride=cast("tuple[int, int]", source.stride),
            groups=source.groups,
            bias=source.bias is not None,
            device="meta",
        )
        self.weight, self.bias = source.weight, source.bias
        self.sides = (before, after, before, after)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) to (B, D, H', W')."""
        return super().forward(pad(x_BCHW, self.sides))


def create_fixed_padding(architecture: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Create an EfficientNet; arguments as for any timm entry point, after the name of timm's architecture."""
    model: nn.Module = model_entrypoint(architecture)(pretrained=pretrained, **kwargs)
    size = _NOMINAL_SIZES[architecture]
    strided = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and max(module.stride) > 1
    ]
    for name, convolution in strided:
        size, before, after = _same_padding(size, convolution.kernel_size[0], convolution.stride[0])
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, FixedPadConv2d(convolution, before, after))
    return model


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int, int]:
    """Size of the output and padding before and after, by TensorFlow's rule; sizes in pixels."""
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return out, total // 2, total - total // 2
