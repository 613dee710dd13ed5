"""Residual branches that begin at zero."""

import pytest
import timm
import torch
from torch import nn

from lowzoo.train.networks.residual import zero_residual_branches


@pytest.mark.parametrize(
    ("name", "branches"),
    [
        ("mobilenetv2_100", 10),
        ("mobilenetv3_large_100", 10),
        ("efficientnet_b0", 9),
        ("mobilenetv4_conv_small", 10),
        ("vit_tiny_patch16_224", 0),
        ("resnet18", 0),
    ],
)
def test_every_branch_of_the_inverted_residuals_begins_at_zero(name: str, branches: int) -> None:
    network = timm.create_model(name, num_classes=0)
    blocks = [block for block in network.modules() if getattr(block, "has_skip", False) is True]
    assert len(blocks) == branches
    assert zero_residual_branches(network) == branches
    for block in blocks:
        channels = next(layer for layer in block.modules() if isinstance(layer, nn.Conv2d)).in_channels
        pictures = torch.randn(2, channels, 7, 7)
        assert torch.equal(block.train()(pictures), pictures)


def test_other_weights_and_the_random_numbers_stay() -> None:
    torch.manual_seed(0)
    before = timm.create_model("mobilenetv2_100", num_classes=0)
    torch.manual_seed(0)
    after = timm.create_model("mobilenetv2_100", num_classes=0)
    state = torch.get_rng_state()
    zero_residual_branches(after)
    assert torch.equal(state, torch.get_rng_state())
    changed = {name for name, value in after.state_dict().items() if not torch.equal(value, before.state_dict()[name])}
    assert len(changed) == 10
    assert all(name.endswith("bn3.weight") for name in changed)


class _Shortened(nn.Module):
    """A block whose last batch norm is not what its branch ends with."""

    has_skip = True

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.last(self.norm(self.conv(x)))


def test_a_gain_whose_zero_is_no_identity_is_put_back() -> None:
    block = _Shortened()
    assert zero_residual_branches(block) == 0
    assert torch.equal(block.norm.weight, torch.ones(4))
