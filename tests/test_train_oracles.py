"""Losses, heads and schedules against numbers of the original implementations (tests/oracles/oracles.json)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from lowzoo.train.heads import DINOHead, MLPHead, MSNHead
from lowzoo.train.objectives.rob import RobObjective
from lowzoo.train.schedules import cosine, warmup_cosine

FOLDER = Path(__file__).parent / "oracles"
ENTRIES = {entry["name"]: entry for entry in json.loads((FOLDER / "oracles.json").read_text())["oracles"]}


def read(name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, float]]:
    """Hyper-parameters, tensors in float64, tolerance."""
    entry = ENTRIES[name]
    tensors = {
        key: value.double() if value.is_floating_point() else value
        for key, value in load_file(FOLDER / entry["file"]).items()
    }
    return entry, tensors, entry["tolerance"]


@pytest.mark.parametrize("name", ["rob_dino", "rob_dino_bounded", "rob_msn"])
@pytest.mark.parametrize("swapped", [False, True])
def test_rob_loss_and_gradient_equal_the_original(name: str, swapped: bool) -> None:
    entry, tensors, tolerance = read(name)
    settings = entry["hyper_parameters"]
    views = settings["global_views"] + settings["local_views"]
    logits = tensors["student_logits"].unflatten(0, (views, -1)).requires_grad_()
    objective = RobObjective(settings["teacher_temperature"], settings["student_temperature"], swapped)
    if name == "rob_msn":
        head = MSNHead(settings["in_dim"], settings["K"], hidden=settings["hidden"], bottleneck=settings["out_dim"])
        _load(head, tensors, "teacher_head.")
        scores = head.double().eval()(tensors["teacher_features"]).detach()
    else:
        scores = tensors["teacher_logits"]
    targets = objective.targets(scores.unflatten(0, (settings["global_views"], -1)))
    if name == "rob_msn":
        assert_close(targets.flatten(0, 1), tensors["teacher_probs"], **tolerance)
    loss = objective.loss(logits, targets)
    loss.backward()
    suffix = "_swapped" if swapped else ""
    assert_close(loss.item(), entry["scalars"][f"loss{suffix}"], **tolerance)
    assert logits.grad is not None
    assert_close(logits.grad.flatten(0, 1), tensors[f"grad_student_logits{suffix}"], **tolerance)


@pytest.mark.parametrize("name", ["head_dino", "head_dino_bn", "head_vissl_dino"])
def test_dino_head_equals_the_original(name: str) -> None:
    entry, tensors, tolerance = read(name)
    sizes = entry["hyper_parameters"]
    head = DINOHead(
        sizes["in_dim"],
        sizes["out_dim"],
        hidden=sizes["hidden"],
        bottleneck=sizes["bottleneck"],
        batch_norm=sizes.get("use_bn", False),
    ).double()
    # VISSL names the last layer differently; the mathematics are the same.
    _load(head, {key.replace("prototypes0.", "last_layer."): value for key, value in tensors.items()}, "state.")
    assert_close(head.eval()(tensors["x"]), tensors["out_eval"], **tolerance)
    assert_close(head.train()(tensors["x"]), tensors["out_train"], **tolerance)


@pytest.mark.parametrize("name", ["head_vissl_mlp", "head_vissl_mlp_bn"])
def test_mlp_head_has_no_non_linearity(name: str) -> None:
    entry, tensors, tolerance = read(name)
    dims = entry["hyper_parameters"]["dims"]
    head = MLPHead(dims[0], dims[2], hidden=dims[1], batch_norm=entry["hyper_parameters"]["use_bn"]).double()
    _load(head, tensors, "state.")
    assert_close(head.eval()(tensors["x"]), tensors["out_eval"], **tolerance)
    assert_close(head.train()(tensors["x"]), tensors["out_train"], **tolerance)


def test_msn_projection_equals_the_original() -> None:
    entry, tensors, tolerance = read("head_msn")
    sizes = entry["hyper_parameters"]
    head = MSNHead(sizes["in_dim"], sizes["prototypes"], hidden=sizes["hidden"], bottleneck=sizes["out_dim"]).double()
    _load(head, tensors, "state.")
    normalize = torch.nn.functional.normalize
    assert_close(normalize(head.eval().fc(tensors["x"]), dim=1), tensors["query_eval"], **tolerance)
    assert_close(normalize(head.train().fc(tensors["x"]), dim=1), tensors["query_train"], **tolerance)


def test_vissl_schedules_equal_the_original() -> None:
    entry, tensors, tolerance = read("rob_schedules")
    for key, settings in entry["hyper_parameters"].items():
        where = torch.arange(settings["points"], dtype=torch.float64).numpy() / settings["points"]
        if "peak" in settings:
            values = warmup_cosine(
                where,
                start=settings["start"],
                peak=settings["peak"],
                end=settings["end"],
                warmup=settings["warmup_fraction"],
                form="vissl",
            )
        else:
            values = cosine(where, settings["start"], settings["end"])
        assert_close(torch.from_numpy(values), tensors[key], **tolerance)


def _load(head: torch.nn.Module, tensors: dict[str, torch.Tensor], prefix: str) -> None:
    state = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    missing, unexpected = head.double().load_state_dict(state, strict=False)
    assert not unexpected
    assert all("num_batches_tracked" in key for key in missing)
