"""Folded networks say the same, and the original stays as it was."""

import copy

import pytest
import timm
import torch
from torch import nn

from lowzoo.features.folded import folded, run

SIZE = (3, 64, 64)


def settled(model):
    """Batch norms with statistics of their own, as after training."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
            for tensor in (module.running_var, module.weight.data):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return model.eval()


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenetv2_100", "lowzoo/rob_mobilenetv3_large", "efficientnet_b0", "vit_tiny_patch16_224"]
)
def test_features_are_the_same(name):
    arguments = {"img_size": 64} if name.startswith("vit") else {}
    torch.manual_seed(0)
    model = settled(timm.create_model(name, num_classes=0, **arguments))
    before = copy.deepcopy(model.state_dict())
    fast = folded(model, SIZE, "cpu")
    images = torch.randn(4, *SIZE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, found = model(images), fast(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5 * expected.abs().max().item())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())


def test_a_norm_that_is_listed_behind_a_convolution_but_used_before_it():
    class Crossed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.conv(self.norm(x)).mean(dim=(2, 3))

    model = settled(Crossed())
    fast = folded(model, SIZE, "cpu")
    assert isinstance(fast.norm, nn.BatchNorm2d)
    images = torch.randn(2, *SIZE)
    torch.testing.assert_close(fast(images), model(images))


def test_a_batch_is_run_in_parts_and_in_order():
    sizes = []
    model = nn.Flatten()
    model.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    images = torch.randn(8 * torch.get_num_threads() + 3, 1, 160, 160)
    assert torch.equal(run(model, images), images.flatten(1))
    assert sizes == [len(images) - 3, 3]
