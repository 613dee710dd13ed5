"""Which image sizes a network takes: multiples of its patch, and whatever else its own code refuses when it is run."""

import math

import torch
from torch import nn

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.preprocess.input_facts import Side, both_sides, size_text


def patch_side(network: nn.Module) -> int:
    """Side of the square patches that a network cuts images into, in pixels; 1 for one that cuts none."""
    return patch_sides(network)[0]


def patch_sides(network: nn.Module) -> tuple[int, int]:
    """Height and width of the patches that a network cuts images into, in pixels; 1 for one that cuts none."""
    side = getattr(getattr(network, "patch_embed", None), "patch_size", None)
    sides = side if isinstance(side, tuple) else (side, side)
    height, width = (one if isinstance(one, int) else 1 for one in sides)
    return height, width


def nearest_sizes(size: int, step: int) -> tuple[int, ...]:
    """The multiples of `step` around a size, the nearer first."""
    lower = size // step * step
    return tuple(sorted((one for one in (lower, lower + step) if one), key=lambda one: abs(one - size)))


def common_step(*sides: int) -> int:
    """The number whose multiples all patches divide."""
    return math.lcm(*sides)


@torch.no_grad()
def check_takes(network: nn.Module, size: Side, name: str, channels: int = 3) -> None:
    """Run a network on one blank image, and refuse a size that stops it.

    Windows and pyramids divide images in ways that only the network's own code knows.

    Args:
        network: Left in the mode that it is in.
        size: Side in pixels, or (height, width).
        name: Name of the network, for the message.
        channels: Number of channels of the image.

    Raises:
        LowzooError: It cannot take the size; the nearest ones that it takes are named, where there are some.
    """
    height, width = both_sides(size)
    if (reason := _stops(network, height, width, channels)) is None:
        return
    tried = sorted(range(16, 2 * height + 1, 8), key=lambda one: abs(one - height))[:24]
    near = next((one for one in tried if one != height and _stops(network, one, one, channels) is None), None)
    own = (getattr(network, "pretrained_cfg", None) or {}).get("input_size", (3, 0, 0))[-1]
    remedy = f"Take {near} px" if near else f"Take the size it was made for, {own} px" if own else "Take another size"
    raise LowzooError(f"{name} cannot take images of {size_text((height, width))} px ({reason})", remedy)


def _stops(network: nn.Module, height: int, width: int, channels: int) -> str | None:
    training = network.training
    network.eval()
    try:
        parameter = next(network.parameters())
        network(torch.zeros(1, channels, height, width, device=parameter.device, dtype=parameter.dtype))
    except (AssertionError, RuntimeError, ValueError, IndexError, TypeError) as error:
        return reason_of(error).rstrip(".")
    finally:
        network.train(training)
    return None
