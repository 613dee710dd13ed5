"""A teacher that was trained with another normalisation than the views have."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lowzoo.train.views import IMAGENET_MEAN, IMAGENET_STD


def take_imagenet_normalised(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
    """Let a network take views, which are normalised as for ImageNet, whatever it was trained with.

    Args:
        network: Called with (B, 3, H, W); neither its names nor its state dict change.
        mean: Mean of its own normalisation, RGB in [0, 1].
        std: Standard deviation of its own normalisation, RGB in [0, 1].
    """
    if tuple(mean) == IMAGENET_MEAN and tuple(std) == IMAGENET_STD:
        return
    ours, theirs = (
        [torch.tensor(list(values)).view(1, -1, 1, 1) for values in pair]
        for pair in ((IMAGENET_MEAN, IMAGENET_STD), (mean, std))
    )
    network.register_buffer("view_scale", ours[1] / theirs[1], persistent=False)
    network.register_buffer("view_shift", (ours[0] - theirs[0]) / theirs[1], persistent=False)
    network.register_forward_pre_hook(_renormalise)


def _renormalise(network: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    images, *others = inputs
    return images * network.view_scale + network.view_shift, *others
