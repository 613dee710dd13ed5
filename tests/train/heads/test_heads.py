"""Heads against numbers of the originals, their state dicts as they are, and the cut before the last layer."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.testing import assert_close

from lowzoo.train.heads import (
    DINOHead,
    HeadSpec,
    IBOTHead,
    MLPHead,
    MSNHead,
    PatchMLPHead,
    ProjectionHead,
    SwAVHead,
    WeightNormLinear,
)
from lowzoo.train.heads.files import load_head, save_head

FOLDER = Path(__file__).parents[2] / "oracles"
ENTRIES = {entry["name"]: entry for entry in json.loads((FOLDER / "oracles.json").read_text())["oracles"]}


def build(name: str, sizes: dict[str, Any]) -> nn.Module:
    """The module that an oracle's head is."""
    if name.startswith("head_vissl_mlp"):
        first, hidden, last = sizes["dims"]
        return MLPHead(first, last, hidden=hidden, batch_norm=sizes["use_bn"])
    if name == "head_vissl_swav":
        first, hidden, last = sizes["dims"]
        return SwAVHead(first, sizes["prototypes"], hidden=hidden, bottleneck=last)
    in_dim, out_dim, hidden = sizes["in_dim"], sizes["out_dim"], sizes.get("hidden", 0)
    if "swav" in name:
        return SwAVHead(in_dim, sizes["prototypes"], hidden=hidden, bottleneck=out_dim)
    if name == "head_msn":
        return MSNHead(in_dim, sizes["prototypes"], hidden=hidden, bottleneck=out_dim, batch_norm=sizes["use_bn"])
    if name in ("head_seed", "head_sslight_moco"):
        return ProjectionHead(in_dim, out_dim, hidden=hidden)
    if name == "head_vissl_ibot_distillation":
        return PatchMLPHead(in_dim, out_dim, hidden=hidden)
    if "ibot" in name:
        patch = None if sizes["shared"] else sizes["patch_out_dim"]
        return IBOTHead(in_dim, out_dim, patch_out_dim=patch, hidden=hidden, bottleneck=sizes["bottleneck"])
    norm = sizes.get("use_bn", False)
    return DINOHead(in_dim, out_dim, hidden=hidden, bottleneck=sizes["bottleneck"], batch_norm=norm)


def our_names(name: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What VISSL, SSLight and SEED call by another name than DINO, SwAV and MoCo do."""
    other = {
        "head_vissl_dino": ("prototypes0.", "last_layer."),
        "head_vissl_swav": ("prototypes0.", "prototypes."),
        "head_sslight_swav": ("projection.mlp.", "projection_head."),
        "head_seed": ("fc.", "mlp."),
    }
    old, new = other.get(name, ("", ""))
    return {key.replace(old, new, 1) if old else key: value for key, value in state.items()}


def read(name: str) -> tuple[nn.Module, dict[str, Tensor], dict[str, float]]:
    """The head with the oracle's weights, all its tensors, tolerance; in float64."""
    entry = ENTRIES[name]
    tensors = {key: value.double() for key, value in load_file(FOLDER / entry["file"]).items()}
    head = build(name, entry["hyper_parameters"]).double().eval()
    state = {key.removeprefix("state."): value for key, value in tensors.items() if key.startswith("state.")}
    counters = {key: value for key, value in head.state_dict().items() if key.endswith("num_batches_tracked")}
    head.load_state_dict({**our_names(name, state), **counters}, strict=True)
    return head, tensors, entry["tolerance"]


@pytest.mark.parametrize("name", [name for name in ENTRIES if name.startswith("head_")])
def test_a_head_with_the_originals_weights_gives_the_originals_numbers(name: str) -> None:
    head, tensors, tolerance = read(name)
    x = tensors["x"]
    compared = 0
    for mode in ("eval", "train"):
        head.train(mode == "train")
        for output, expected in tensors.items():
            if output == f"cls_{mode}":
                assert_close(head(x[:, 0]), expected, **tolerance)
            elif output == f"patch_{mode}":
                assert_close(head.patch_scores(x[:, 1:]), expected, **tolerance)  # type: ignore[operator]
            elif output in (f"embedding_{mode}", f"query_{mode}"):
                assert_close(head.bottleneck(x), expected, **tolerance)  # type: ignore[operator]
            elif output in (f"out_{mode}", f"logits_{mode}"):
                assert_close(head(x), expected, **tolerance)
            else:
                continue
            compared += 1
    assert compared >= 2


def test_a_shared_patch_layer_that_is_not_shared_is_refused() -> None:
    head, tensors, _ = read("head_ibot")
    state = {key.removeprefix("state."): value for key, value in tensors.items() if key.startswith("state.")}
    state["last_layer2.weight_v"] = state["last_layer2.weight_v"] + 1
    with pytest.raises(RuntimeError, match=r"last_layer2\.weight_v"):
        head.load_state_dict(state)


@pytest.mark.parametrize("kind", ["dino", "ibot", "swav", "msn", "moco", "simclr", "fitted"])
def test_scores_of_the_bottleneck_are_the_output(kind: str) -> None:
    torch.manual_seed(0)
    head = HeadSpec(kind=kind, layers=2, hidden=12, bottleneck=6).build(10, 7).eval()
    x = torch.randn(5, 10)
    narrow = head.bottleneck(x)  # type: ignore[operator]
    width = 7 if kind in ("moco", "simclr") else 6
    assert narrow.shape == (5, width)
    assert torch.equal(head.scores(narrow), head(x))  # type: ignore[operator]
    assert torch.equal(head.scores(narrow.unflatten(0, (5, 1)))[:, 0], head(x))  # type: ignore[operator]


def test_a_plain_last_layer_and_a_fixed_gain() -> None:
    plain = DINOHead(10, 7, layers=2, hidden=12, bottleneck=6, batch_norm=True, plain_last=True)
    assert [*plain.state_dict()][-1] == "last_layer.weight"
    fixed = DINOHead(10, 7, layers=2, hidden=12, bottleneck=6, fixed_gain=True)
    trained = [name for name, parameter in fixed.named_parameters() if parameter.requires_grad]
    assert "last_layer.weight_v" in trained
    assert "last_layer.weight_g" not in trained


def test_frozen_rows_stay_what_they_were_and_stay_out_of_files() -> None:
    layer = WeightNormLinear(6, 9)
    x, keys = torch.randn(4, 6), list(layer.state_dict())
    expected = layer(x)
    layer.freeze()
    with torch.no_grad():
        layer.weight_v.add_(1)
    assert torch.equal(layer(x), expected)
    assert list(layer.state_dict()) == keys


def test_normalised_prototypes_have_unit_length_and_their_direction() -> None:
    head = SwAVHead(10, 7, hidden=12, bottleneck=6)
    before = head.prototypes.weight.detach().clone()
    head.normalise_prototypes()
    after = head.prototypes.weight.detach()
    assert_close(after.norm(dim=1), torch.ones(7))
    assert_close(after * before.norm(dim=1, keepdim=True), before)


@pytest.mark.parametrize("kind", ["dino", "ibot", "ibot_mlp", "mlp", "swav", "msn", "moco", "simclr", "fitted"])
def test_heads_survive_their_files(kind: str, tmp_path: Path) -> None:
    spec = HeadSpec(kind=kind, layers=2, hidden=12, bottleneck=6)
    head = spec.build(10, 7).eval()
    save_head(tmp_path / "head.safetensors", head, spec, 10, 7)
    again, found, in_dim, out_dim = load_head(tmp_path / "head.safetensors")
    assert (found, in_dim, out_dim) == (spec, 10, 7)
    features = torch.randn(3, 10)
    assert_close(again(features), head(features))
