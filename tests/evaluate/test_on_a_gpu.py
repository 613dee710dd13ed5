"""Evaluation on a GPU that is not there: no mixed devices, and no waiting but where it is stated."""

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import timm
import torch
from torch import Tensor, nn

from lowzoo.evaluate.knn_protocol import TrainTestData, knn_preset, score_knn
from lowzoo.evaluate.linear_probe import evaluate_linear
from lowzoo.evaluate.probes.linear_probes import ProbeBank
from lowzoo.evaluate.probes.settings import ProbeSettings
from lowzoo.features.extraction import Extraction
from lowzoo.system.device_trace import DeviceTrace
from tests.helpers.evaluate import pixel_network

# Functions in which the host may wait, and why.
ONCE = (
    "_placed",  # the network goes up
    "cache_path",  # the key of the cache holds the weights and what the network makes of one input
    "weights_digest",  # the weights, for the result
    "folded",  # whether folding changes what the network says
)
A_BATCH = ("_run",)  # the features of a batch, once
SEARCHED = (
    "_Search.add",
    "compared_again",
    "nearest_neighbours",
)  # blocks of the bank go up, candidates and neighbours down
JUDGED = ("ProbeBank.predict", "ProbeBank.losses")  # blocks of held-out features go up, classes and losses down
PUT_THERE = ("CachedFeed.__init__", "_held.<locals>.to")  # all features and the probes, once a training
SOLVED = ("_minimum", "_Trainer.fit")  # features go up once a probe, and L-BFGS decides on the host how far it goes

CACHED = ProbeSettings(learning_rates=(0.1, 0.3), epochs=2, batch_size=32, norm="standardise", augmentation="none")
TRAINED = ProbeSettings(learning_rates=(0.1,), epochs=2, batch_size=32, norm="batch")
SWEEP = ProbeSettings(optimizer="lbfgs", weight_decays=(1e-3, 1e-1), norm="standardise", augmentation="none")


class _Network(nn.Module):
    """A convolutional network; `planted` says what is wrong with it."""

    def __init__(self, planted: str = "") -> None:
        super().__init__()
        self.planted = planted
        self.body = timm.create_model("test_resnet", num_classes=0)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.body(images)
        if self.planted == "item":
            found = found / max(1.0, found.sum().item())
        elif self.planted == "place":
            found = found + torch.ones(found.shape[1])
        return found


def _traced(data: TrainTestData, what: str, allowed: tuple[str, ...], planted: str = "") -> DeviceTrace:
    how = Extraction(device="cuda", progress=False, precision="bf16")
    network = pixel_network(_Network(planted))
    with DeviceTrace(allowed, watch=True) as trace, _held(trace):
        if what == "knn":
            score_knn(network, data, preset=knn_preset("dino"), how=how)
        else:
            settings = {"cached": CACHED, "trained": TRAINED, "sweep": SWEEP}[what]
            evaluate_linear(network, data, settings, how=how)
    return trace


def _held(trace: DeviceTrace) -> Any:
    """Prepare probes for their backward passes once they are on the device."""

    def to(self: ProbeBank, device: Any) -> ProbeBank:
        moved = nn.Module.to(self, device)
        trace.hold(moved)
        return moved

    return mock.patch.object(ProbeBank, "to", to)


def _kinds(trace: DeviceTrace) -> list[tuple[str, str]]:
    return [(wait.kind, f"{Path(wait.where).name}: {wait.operation}") for wait in trace.waits]


def test_features_are_read_back_once_a_batch(data: TrainTestData) -> None:
    trace = _traced(data, "knn", (*ONCE, *SEARCHED))
    batches = -(-len(data.bank) // 64) + -(-len(data.queries) // 64)
    assert [kind for kind, _ in _kinds(trace)] == ["read-back"] * batches
    assert all("features.py" in wait.where for wait in trace.waits)
    products = {"convolution", "mm", "addmm"}
    networks = {t for op in trace.operations if "/timm/" in op.where and op.name in products for t in op.types}
    searches = {t for op in trace.operations if "neighbours.py" in op.where and op.name == "mm" for t in op.types}
    # In fp32 the network is only asked for the key of the cache, and whether it may be folded.
    assert networks == {torch.bfloat16, torch.float32}
    assert searches == {torch.float32}


ALLOWED: dict[str, tuple[str, ...]] = {
    "knn": (*ONCE, *A_BATCH, *SEARCHED),
    "cached": (*ONCE, *A_BATCH, *PUT_THERE, *JUDGED),
    "trained": (*ONCE, *A_BATCH, *PUT_THERE, *JUDGED),  # a batch of augmented images has no read-back
    "sweep": (*ONCE, *A_BATCH, *PUT_THERE, *JUDGED, *SOLVED),
}


@pytest.mark.parametrize("what", list(ALLOWED))
def test_evaluation_waits_for_nothing_else(what: str, data: TrainTestData) -> None:
    trace = _traced(data, what, ALLOWED[what])
    assert _kinds(trace) == []
    assert trace.flops > 0


def test_a_step_of_the_probes_waits_for_nothing(data: TrainTestData, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []
    step = ProbeBank.step

    def watched(self: ProbeBank, *arguments: Any) -> None:
        before = len(trace.waits)
        step(self, *arguments)
        found.extend(trace.waits[before:])

    monkeypatch.setattr(ProbeBank, "step", watched)
    how = Extraction(device="cuda", progress=False)
    with DeviceTrace() as trace, _held(trace):
        evaluate_linear(pixel_network(_Network()), data, TRAINED, how=how)
    assert found == []


@pytest.mark.parametrize("what", ["knn", "trained"])
def test_a_planted_read_back_is_found_with_its_line(what: str, data: TrainTestData) -> None:
    waits = _traced(data, what, tuple(set(ALLOWED[what]) - set(A_BATCH)), "item").waits
    assert any(wait.operation in ("item", "_local_scalar_dense") and "test_on_a_gpu.py" in wait.where for wait in waits)


@pytest.mark.parametrize("what", ["knn", "trained"])
def test_a_planted_tensor_of_the_cpu_is_an_error(what: str, data: TrainTestData) -> None:
    with pytest.raises(RuntimeError, match="same device"):
        _traced(data, what, ALLOWED[what], "place")
