"""A network that exports in a second, wrapped as the zoo wraps its models."""

import torch
from torch import nn

# These take `load_model` by name: were they imported while a test replaces it, they would keep what stood in for it.
import lowzoo.bench.engines.pytorch
import lowzoo.bench.subjects.subject
import lowzoo.export.artifact
import lowzoo.export.artifacts.identity  # noqa: F401
from lowzoo import catalog
from lowzoo.zoo.resolve import Resolved

SIDE = 32


class TinyNet(nn.Module):
    """Six features that differ from picture to picture: (B, 3, S, S) to (B, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 5, stride=4)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x))).amax((2, 3))


def tiny_resolved(model: nn.Module | None = None, **changes) -> Resolved:
    """The tiny network with a mean and a deviation that no other place has by accident."""
    torch.manual_seed(0)
    facts = {
        "model": (model or TinyNet()).eval(),
        "name": "tiny.tag",
        "revision": "sha256:0123456789ab",
        "input_size": (3, SIDE, SIDE),
        "mean": (0.4, 0.5, 0.6),
        "std": (0.2, 0.3, 0.25),
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "license": "Apache-2.0",
        "recipe": "rob",
        "trained": True,
    }
    return Resolved(**facts | changes)


# Deeper or wider forms of networks that are tried as well; benchmarks/export_matrix.py goes through these too.
_MORE_OF_THE_SAME = {"rob_regnety_8gf", "rob_resnet34", "rob_vit_small", "seed_efficientnet_b1"}


def one_of_each_network() -> list[str]:
    """A name of each kind of network in the zoo; benchmarks/export_matrix.py goes through all and the precisions."""
    by_network = {(entry.architecture, entry.builder): name for name, entry in reversed(catalog.models().items())}
    return sorted(set(by_network.values()) - _MORE_OF_THE_SAME)
