"""Each --for, --precision, --input and --batch of a convolutional network and of a transformer: a right file or a no.

A rewrite for a GPU that holds in one precision says nothing of the others, and no combination is special.
"""

import copy
import itertools
from functools import cache

import pytest
import timm
import torch
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.export import ExportSpec, MaxLoss, ParityError
from lowzoo.export.artifact import write_artifact
from lowzoo.export.formats import FORMATS
from lowzoo.export.network.rewrites import (
    PlainGelu,
    PlainLayerNorm,
    clamps_for_hard_activations,
    plain_mean_pools,
    plain_transformer_layers,
)
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.export.spec.spec import INPUTS
from tests.helpers.export import SIDE, tiny_resolved
from tests.helpers.slow import swept_but


class Mobile(nn.Module):
    """Everything that MobileNets are rewritten for: hard activations, a squeeze-and-excitation, a depthwise layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.act = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish()
        self.depthwise, self.pool = nn.Conv2d(8, 8, 3, 2, 1, groups=8), nn.AdaptiveAvgPool2d(1)
        self.squeeze, self.gate = nn.Conv2d(8, 8, 1), nn.Hardsigmoid()
        self.widen = nn.Conv2d(8, 16, 1)

    def forward(self, x):
        x = self.depthwise(self.act(self.norm(self.stem(x))))
        x = x * self.gate(self.squeeze(self.pool(x)))
        return self.pool(self.act(self.widen(x))).flatten(1)


NETWORKS = {
    "cnn": Mobile,
    # One block: every rewrite of a transformer is inside one, and a trace takes half the time.
    "vit": lambda: timm.create_model("test_vit", num_classes=0, img_size=SIDE, depth=1, dynamic_img_size=False),
}
TARGETS = FORMATS["executorch"].all_targets()
BATCHES = (1, 3, "dynamic")
# What is not there without an extra; LiteRT's wants another torch than the rest.
EXTRAS = {
    "executorch": "executorch.runtime",
    "litert": "litert_torch",
    "openvino": "openvino",
    "ncnn": "pnnx",
    "mnn": "_mnncengine",
}
# A quantised random network loses what it loses; what counts here is that the file runs and is held to its bound.
LOOSE = MaxLoss(None, 0.5)


@cache
def judge_of(name: str) -> ParityChecker:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, 1, 0.1)
            nn.init.normal_(module.bias, 0, 0.1)
    return ParityChecker(tiny_resolved(network), pictures=12)


def refusal(format_: str, target: str, precision: str, input_: str, batch: int | str) -> str:
    """What a combination is refused with by design; empty if it is not."""
    if target == "coreml" and format_ != "executorch":
        return "--for coreml is of ExecuTorch's programs"
    if not FORMATS[format_].dynamic_batch and batch == "dynamic":
        return "exported with a fixed batch"
    if format_ == "ncnn" and batch != 1:
        return "ncnn has no batch"
    if format_ == "ncnn" and target == "nnapi":
        return "ncnn runs by itself"
    if target == "coreml" and precision == "int8-dynamic":
        return "Core ML has no int8-dynamic"
    return "a Core ML image is one image" if format_ == "coreml" and input_ == "image" and batch != 1 else ""


GRID = [
    (network, format_, target, precision, input_, batch)
    for network in NETWORKS
    for format_ in FORMATS.names()
    for target, precision, input_, batch in itertools.product(TARGETS, FORMATS[format_].precisions, INPUTS, BATCHES)
    # The rewrites are for providers of onnxruntime; elsewhere one of them stands for all.
    if format_ == "onnx" or target in ("cpu", "coreml") or (target == "nnapi" and precision in ("fp32", "fp16"))
    # Every --for and --precision takes every --input, and images in a batch of any size. What pixels pass before the
    # network is the same for all, so the other batches of both inputs are tried on plain float32.
    if batch == 1 or (batch == "dynamic" and input_ == "image") or (target == "cpu" and precision == "fp32")
]


def in_each_run(network: str, format_: str, target: str, precision: str, input_: str, batch: int | str) -> bool:
    """Whether a combination is tried before every change, and not in a sweep alone.

    Pixels are prepared before the network, whatever it is: each --for and --precision is tried with tensors on one
    network and with images on the other, and with images in batches of any size on both.
    """
    if (target, precision) == ("cpu", "fp32") or refusal(format_, target, precision, input_, batch):
        return True
    if (target, precision) == ("nnapi", "fp16") and format_ != "onnx":
        return False
    return batch == "dynamic" or input_ == ("tensor" if network == "cnn" else "image")


@pytest.mark.slow
@pytest.mark.parametrize(("network", "format_", "target", "precision", "input_", "batch"), swept_but(GRID, in_each_run))
def test_every_combination(network, format_, target, precision, input_, batch, tmp_path):
    def spec():
        return ExportSpec(format=format_, target=target, precision=precision, input=input_, batch=batch, max_loss=LOOSE)

    if said := refusal(format_, target, precision, input_, batch):
        with pytest.raises(LowzooError, match=said):
            spec()
        return
    if format_ in EXTRAS:
        pytest.importorskip(EXTRAS[format_])
    checker = judge_of(network)
    path = tmp_path / f"x{FORMATS[format_].suffix}"
    if (network, format_, precision) == ("cnn", "executorch", "int8-dynamic"):
        with pytest.raises(ParityError, match="XNNPACK's dynamic int8 is of fully connected layers alone"):
            write_artifact(checker.resolved, spec(), path, checker)
        return
    artifact = write_artifact(checker.resolved, spec(), path, checker)
    assert artifact.parity.images == len(checker.images)
    assert artifact.input_shape[0] == (0 if batch == "dynamic" else batch)
    assert path.exists()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("network", NETWORKS)
def test_rewrites_keep_the_type_of_what_they_are_given(network, dtype):
    plain = judge_of(network).resolved.model
    rewritten = plain_transformer_layers(clamps_for_hard_activations(plain_mean_pools(copy.deepcopy(plain)))).to(dtype)
    types = set()
    for module in rewritten.modules():
        module.register_forward_hook(lambda _, taken, given: types.add(given.dtype))
    rewritten(torch.rand(1, 3, 32, 32, dtype=dtype))
    assert types == {dtype}


def test_written_out_layers_hold_what_float16_holds():
    torch.manual_seed(0)
    x = 400 * torch.randn(4, 64)  # their squares are beyond float16
    norm = nn.LayerNorm(64)
    found = PlainLayerNorm(norm).half()(x.half()).float()
    torch.testing.assert_close(found, norm.float()(x.half().float()), rtol=2e-3, atol=2e-3)
    constant = PlainLayerNorm(nn.LayerNorm(64)).half()(torch.ones(1, 64).half())
    assert torch.equal(constant, torch.zeros_like(constant)), "epsilon is not lost"
    values = torch.linspace(-500, 500, 4001).half()
    exact = nn.functional.gelu(values.double()).float()
    torch.testing.assert_close(PlainGelu()(values).float(), exact, rtol=5e-3, atol=5e-3)
