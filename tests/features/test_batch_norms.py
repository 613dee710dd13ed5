"""Folding a frozen teacher's batch norms changes its speed, not its features."""

import pytest
import timm
import torch
from torch import nn

from lowzoo.features.batch_norms import fold_batch_norms


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenetv3_small_050", "tf_efficientnet_b0"])
def test_features_stay(architecture: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model(architecture, num_classes=0).eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 2)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = network(images)
        assert fold_batch_norms(network) == len(norms)
        after = network(images)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5 * float(before.abs().max()))


def test_a_norm_that_does_not_follow_its_convolution_stays() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            maps = self.convolution(x)
            return maps + self.norm(maps)

    network = Shared().eval()
    assert fold_batch_norms(network) == 0
    assert isinstance(network.norm, nn.BatchNorm2d)


def test_a_network_that_cannot_be_traced_is_left_alone() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.convolution(x)) if x.sum() > 0 else x

    network = Branching().eval()
    assert fold_batch_norms(network) == 0
    assert isinstance(network.norm, nn.BatchNorm2d)
