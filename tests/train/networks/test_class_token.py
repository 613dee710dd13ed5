"""A last block that makes the class token alone gives the same feature and the same gradients."""

import copy

import pytest
import timm
import torch
from torch import nn

from lowzoo.train.networks.class_token import shorten_last_block


def _vit(**more: object) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_vit", num_classes=0, img_size=32, **more)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("more", [{}, {"drop_path_rate": 0.5}, {"reg_tokens": 2, "init_values": 0.1, "qk_norm": True}])
def test_feature_and_gradients_are_those_of_the_whole_block(fused: bool, more: dict[str, object]) -> None:
    whole = _vit(**more).double()
    for block in whole.blocks:
        block.attn.fused_attn = fused
    short, images = copy.deepcopy(whole), torch.randn(4, 3, 32, 32, dtype=torch.float64)
    assert shorten_last_block(short)
    assert short.forward_features(images).shape[1] == 1
    assert short.state_dict().keys() == whole.state_dict().keys()
    features = []
    for network in (whole, short):
        torch.manual_seed(1)  # for the paths that are dropped
        features.append(network(images))
        features[-1].square().sum().backward()
    torch.testing.assert_close(features[1], features[0])
    for (name, expected), found in zip(whole.named_parameters(), short.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, msg=name)


def test_a_network_that_reads_a_second_token_is_left_alone() -> None:
    network = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=0, img_size=32, depth=1).eval()
    images = torch.randn(2, 3, 32, 32)
    before = network(images)
    assert not shorten_last_block(network)
    assert torch.equal(network(images), before)


def test_a_copy_uses_its_own_weights() -> None:
    network = _vit().eval()
    assert shorten_last_block(network)
    twin, images = copy.deepcopy(network), torch.randn(2, 3, 32, 32)
    before = network(images)
    nn.init.zeros_(twin.blocks[-1].mlp.fc2.weight)
    assert torch.equal(network(images), before)
    assert not torch.allclose(twin(images), before)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit2"])
def test_networks_of_another_kind_are_left_alone(name: str) -> None:
    network = timm.create_model(name, num_classes=0, **({} if "res" in name else {"global_pool": "avg"}))
    assert not shorten_last_block(network)


def test_a_block_with_an_option_of_its_own_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _vit()
    attention = network.blocks[-1].attn
    attention.norm = nn.LayerNorm(attention.proj.in_features)
    nn.init.constant_(attention.norm.weight, 3.0)
    monkeypatch.setattr(type(attention), "forward", lambda self, x, **_: self.proj(self.norm(x)))
    assert not shorten_last_block(network)
