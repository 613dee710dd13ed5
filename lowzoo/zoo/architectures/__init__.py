"""Networks that timm has not exactly as their checkpoints need them: one difference a file, on top of timm's classes.

A builder takes what any entry point of timm takes, and the timm architecture before that. Where it can, it lets timm
build and load, and changes afterwards what has no weights of its own: the names in the state dict stay timm's.
"""

from collections.abc import Callable

from torch import nn

from lowzoo.zoo.architectures.fixed_padding import create_fixed_padding
from lowzoo.zoo.architectures.official_positions import create_official_positions
from lowzoo.zoo.architectures.pooled_mobilenetv3 import create_pooled_mobilenetv3
from lowzoo.zoo.architectures.squeeze_before_act import create_squeeze_before_act

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "fixed_padding": create_fixed_padding,
    "official_positions": create_official_positions,
    "pooled_mobilenetv3": create_pooled_mobilenetv3,
    "squeeze_before_act": create_squeeze_before_act,
}
