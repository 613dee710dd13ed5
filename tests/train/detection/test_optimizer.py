"""Which numbers decay: as in detectron2 for SGD, and no tables of positions for AdamW."""

import timm
import torch

from lowzoo.detection.network.detector import Backbone, Detector
from lowzoo.detection.network.shape import DetectorShape
from lowzoo.train.detection.config import DetectConfig
from lowzoo.train.detection.optimizer import optimizer_of

SHAPE = DetectorShape(strides=(8, 16, 32), anchor_sizes=((16,), (32,), (64,), (128,)), channels=16, hidden=16)


def _decays(architecture: str, **more) -> dict[str, float]:
    network = timm.create_model(architecture, num_classes=0)
    detector = Detector(Backbone(network, architecture, "", architecture), SHAPE, 3, masks=False)
    found = optimizer_of(DetectConfig(steps=1, network=SHAPE, **more), detector)
    decay = {id(p): group["weight_decay"] for group in found.param_groups for p in group["params"]}
    return {name: decay[id(p)] for name, p in detector.named_parameters() if p.requires_grad}


def test_norms_have_a_decay_of_their_own_and_biases_that_of_weights():
    found = _decays("test_efficientnet", optimizer="sgd", weight_decay=0.1, norm_decay=0.01)
    assert found["heads.box_head.fc1.weight"] == found["heads.box_head.fc1.bias"] == 0.1
    norms = [value for name, value in found.items() if ".bn1." in name]
    assert norms
    assert set(norms) == {0.01}


def test_adamw_leaves_biases_and_tables_alone():
    found = _decays("test_vit", optimizer="adamw", weight_decay=0.1, bias_decay=False)
    assert found["pyramid.vit.pos_embed"] == found["pyramid.vit.cls_token"] == found["heads.box_head.fc1.bias"] == 0
    assert found["pyramid.vit.blocks.0.attn.qkv.weight"] == 0.1


def test_the_rate_warms_up_and_falls_at_the_milestones():
    config = DetectConfig(
        steps=100, learning_rate=0.02, batch_size=32, milestones=(0.5, 0.75), warmup=0.1, warmup_start=0.001
    )
    rates = torch.from_numpy(config.rates(torch.arange(100).numpy() / 100))
    assert torch.allclose(rates[[10, 49, 50, 75, 99]], torch.tensor([0.04, 0.04, 0.004, 0.0004, 0.0004]).double())
    assert abs(rates[0] - 0.04 * 0.001) < 1e-9
    assert abs(rates[5] - 0.04 * (0.001 + 0.999 * 0.5)) < 1e-9
