"""RoB's MobileNetV3-Large: 960 trained numbers and no layer that nobody trained."""

import timm
import torch
from safetensors.torch import save_file
from torch import nn

NAME = "lowzoo/rob_mobilenetv3_large"
IMAGE = torch.linspace(-2, 2, 3 * 64 * 64).reshape(1, 3, 64, 64)


def test_features_are_the_pooled_maps():
    model = timm.create_model(NAME).eval()
    with torch.no_grad():
        pooled = model.forward_features(IMAGE).mean(dim=(2, 3))
        assert torch.allclose(model(IMAGE), pooled, atol=1e-6)
        assert torch.allclose(model.forward_head(model.forward_features(IMAGE), pre_logits=True), pooled, atol=1e-6)
    assert model.head_hidden_size == model.num_features == 960
    assert not any(name.startswith("conv_head") for name in model.state_dict())


def test_a_classifier_sits_on_the_pooled_maps():
    model = timm.create_model(NAME, num_classes=10)
    assert isinstance(model.classifier, nn.Linear)
    assert model.classifier.in_features == 960


def _weights(folder):
    source = timm.create_model(NAME)
    save_file(source.state_dict(), folder / "weights.safetensors")
    return source, {"file": str(folder / "weights.safetensors")}


def test_weights_load_strictly_and_adapt(tmp_path):
    source, overlay = _weights(tmp_path)
    same = timm.create_model(NAME, pretrained=True, pretrained_cfg_overlay=overlay)
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in source.state_dict().items())

    adapted = timm.create_model(NAME, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=4, in_chans=1)
    assert torch.equal(adapted.blocks[6][0].conv.weight, source.blocks[6][0].conv.weight)
    assert torch.allclose(adapted.conv_stem.weight, source.conv_stem.weight.sum(1, keepdim=True), atol=1e-6)
    assert adapted.eval()(IMAGE[:, :1]).shape == (1, 4)


def test_feature_maps_come_from_the_same_weights(tmp_path):
    source, overlay = _weights(tmp_path)
    maps = timm.create_model(NAME, pretrained=True, pretrained_cfg_overlay=overlay, features_only=True).eval()
    with torch.no_grad():
        assert torch.allclose(maps(IMAGE)[-1], source.eval().forward_features(IMAGE), atol=1e-5)
