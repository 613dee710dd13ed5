"""The bundled weights are worth something: on the embedded drawings they beat the same network as it is made."""

import math

import numpy as np
import pytest
import timm
import torch
from torch import nn

from lowzoo.evaluate.knn_protocol import open_train_test
from lowzoo.features.votes import knn_accuracy
from lowzoo.train.monitoring.monitor import features_of, load_squares
from lowzoo.train.teachers import load_teacher
from lowzoo.zoo.resolve import load_model

SIDE, K = 128, 20
# Every second drawing: the margin is wide, and the time is half.
EVERY = 2


def rob_vit_tiny() -> nn.Module:
    return load_model("rob_vit_tiny").model


def rob_mobilenetv3_large() -> nn.Module:
    return load_model("rob_mobilenetv3_large").model


def mobilenetv2_supervised() -> nn.Module:
    return load_teacher("mobilenetv2_supervised", size=SIDE, head="fitted").backbone


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trained", "architecture", "arguments"),
    [
        (rob_vit_tiny, "vit_tiny_patch16_224", {"img_size": SIDE}),
        (rob_mobilenetv3_large, "lowzoo/rob_mobilenetv3_large", {}),
        (mobilenetv2_supervised, "mobilenetv2_100", {}),
    ],
)
def test_trained_weights_beat_their_random_twin(trained, architecture, arguments):
    data = open_train_test(None)
    torch.manual_seed(0)
    twin = timm.create_model(architecture, num_classes=0, **arguments).eval()
    squares, labels = {}, {}
    for name, whole in (("bank", data.bank), ("queries", data.queries)):
        part = whole.subset(np.arange(0, len(whole), EVERY))
        squares[name], kept = load_squares(part, len(part), SIDE)
        labels[name] = torch.from_numpy(part.require_labels()[kept])
    found = []
    for network in (twin, trained()):
        bank, queries = (
            features_of(network, squares[name], torch.device("cpu"), torch.inference_mode) for name in squares
        )
        found.append(knn_accuracy(bank, labels["bank"], queries, labels["queries"], ks=(K,))[K])
    before, after = found
    error = 100 * math.sqrt(after / 100 * (1 - after / 100) / len(labels["queries"]))
    assert after > before + 3 * error, found
