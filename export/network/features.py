"""Feature maps instead of features: what a detector or a segmentation head reads off a backbone.

The maps are those of timm's `features_only`, by the same indices (`out_indices`): the stages of a CNN or of a
hierarchical transformer, the patch tokens of a ViT's blocks. Every map is (B, C, H, W), whatever the layout inside the
network; class and register tokens are left out, and what comes behind the last map is cut off. No map passes the final
norm of the network, as with timm's `features_only` and with the default of its `forward_intermediates`.
"""

import copy
import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.export.spec.spec import Features
from lowzoo.zoo.resolve import FeatureMap, Resolved


class FeatureMaps(nn.Module):
    """A network that gives some of its feature maps.

    Args:
        network: A network of timm; is changed: layers behind the last map are taken out.
        indices: Indices of the maps, rising.
    """

    def __init__(self, network: nn.Module, indices: Sequence[int]) -> None:
        super().__init__()
        self.indices = list(indices)
        if hasattr(network, "prune_intermediate_layers"):
            network.prune_intermediate_layers(self.indices, prune_norm=True, prune_head=True)  # type: ignore[operator]
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) to a map (B, C, h, w) each."""
        return _maps(self.network, x, self.indices)


def with_features(resolved: Resolved, features: Features) -> Resolved:
    """Make a network give feature maps.

    Args:
        resolved: The network, which is left as it is.
        features: Indices of the maps, those below 0 counted from the end; "last" or "all".

    Returns:
        The network with `features` filled in; its forward gives a tuple of maps.

    Raises:
        LowzooError: It has no maps, or not these.
    """
    if resolved.head:
        raise LowzooError(
            f"{resolved.name} ends in a classifier, and feature maps come from before one", "Leave out one of the two"
        )
    known = maps_of(resolved)
    if features == "all":
        indices = tuple(range(len(known)))
    elif features == "last":
        indices = (len(known) - 1,)
    else:
        wrong = [index for index in features if not -len(known) <= index < len(known)]
        if wrong:
            raise LowzooError(
                f"{resolved.name} has no feature map {', '.join(map(str, wrong))}; it has {_listed(known)}",
                "Name some of these, last, or all",
            )
        indices = tuple(sorted({index % len(known) for index in features}))
        if len(indices) != len(features):
            raise LowzooError(
                f"two of the feature maps {', '.join(map(str, features))} are the same", "Name each map once"
            )
    try:
        model = FeatureMaps(copy.deepcopy(resolved.model), indices).eval()
        with torch.inference_mode():
            shapes = [tuple(each.shape[1:]) for each in model(torch.zeros(1, *resolved.input_size))]
    except Exception as error:  # a network's own code may raise anything when layers are taken out
        raise _none(resolved, reason_of(error)) from error
    chosen = tuple(known[index] for index in indices)
    if shapes != [each.shape for each in chosen]:
        raise _none(resolved, f"shapes {shapes} where {[each.shape for each in chosen]} were expected")
    return dataclasses.replace(resolved, model=model, features=chosen)


def maps_of(resolved: Resolved) -> tuple[FeatureMap, ...]:
    """Every feature map of a network at its size.

    Raises:
        LowzooError: timm knows none of it.
    """
    network = resolved.model
    info: Any = getattr(network, "feature_info", None)
    if not info or not hasattr(network, "forward_intermediates"):
        raise _none(resolved, "timm knows no intermediate maps of this architecture")
    try:
        with torch.inference_mode():
            found = _maps(network, torch.zeros(1, *resolved.input_size), None)
    except Exception as error:  # a network's own code may raise anything
        raise _none(resolved, reason_of(error)) from error
    facts = [info[i] for i in range(len(info))]
    if len(found) != len(facts) or any(each.ndim != 4 for each in found):
        raise _none(resolved, f"{len(found)} outputs for {len(facts)} maps, or outputs that are no maps")
    strides = [_stride(fact, each, resolved) for fact, each in zip(facts, found, strict=True)]
    often = Counter(strides)
    return tuple(
        FeatureMap(
            name=f"stride{stride}{f'_{_word(fact, index)}' if often[stride] > 1 else ''}",
            index=index,
            stride=stride,
            channels=each.shape[1],
            height=each.shape[2],
            width=each.shape[3],
        )
        for index, (fact, each, stride) in enumerate(zip(facts, found, strides, strict=True))
    )


def _maps(network: nn.Module, x: Tensor, indices: list[int] | None) -> tuple[Tensor, ...]:
    found = network.forward_intermediates(  # type: ignore[operator]
        x, indices=indices, norm=False, output_fmt="NCHW", intermediates_only=True
    )
    return tuple(found)


def _stride(fact: Mapping[str, Any], found: Tensor, resolved: Resolved) -> int:
    """Pixels from one position to the next: what timm says, unless the map itself is another."""
    sides, said = resolved.input_size[1:], round(fact["reduction"])
    # Convolutions without a border lose positions at the edges.
    fits = all(abs(count * said - side) <= 2 * said for count, side in zip(found.shape[2:], sides, strict=True))
    return said if fits else max(1, round(sides[0] / found.shape[2]))


def _word(fact: Mapping[str, Any], index: int) -> str:
    """What tells maps of one stride apart: the number of a transformer's block, or the index."""
    return f"block{index}" if re.search(rf"\bblocks\.{index}$", str(fact["module"])) else f"map{index}"


def _listed(known: tuple[FeatureMap, ...]) -> str:
    runs = itertools.groupby(known, key=lambda each: (each.stride, each.channels))
    words = []
    for (stride, channels), same in runs:
        first, *rest = (each.index for each in same)
        words.append(f"{first}{f' to {rest[-1]}' if rest else ''} (stride {stride}, {channels} channels)")
    return ", ".join(words)


def _none(resolved: Resolved, reason: str) -> LowzooError:
    return LowzooError(
        f"{resolved.name} gives no feature maps ({reason})",
        "Name another model, or leave --features out",
    )
