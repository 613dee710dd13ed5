"""Position embeddings at other sizes: each family's own rule, and a ViT that follows it."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from lowzoo.base.errors import LowzooError
from lowzoo.zoo.architectures.positions import resize_positions, set_position_rule

FOLDER = Path(__file__).parents[2] / "oracles"
ENTRY = next(
    entry
    for entry in json.loads((FOLDER / "oracles.json").read_text())["oracles"]
    if entry["name"] == "vit_pos_embed_resize"
)


@pytest.mark.parametrize(("family", "rule"), [("dino", "dino"), ("ibot", "dino"), ("sslight", "dino"), ("msn", "msn")])
@pytest.mark.parametrize("size", ENTRY["hyper_parameters"]["sizes"])
def test_positions_are_resampled_as_the_originals_do(family: str, rule: str, size: int) -> None:
    tensors = load_file(FOLDER / ENTRY["file"])
    side = size // ENTRY["hyper_parameters"]["patch"]
    found = resize_positions(tensors["pos_embed"], (side, side), rule)  # type: ignore[arg-type]
    assert_close(found, tensors[f"{family}_{size}"], **ENTRY["tolerance"])


def test_the_rules_differ_and_agree_at_the_own_size() -> None:
    positions = load_file(FOLDER / ENTRY["file"])["pos_embed"]
    small = [resize_positions(positions, (6, 6), rule) for rule in ("dino", "msn", "timm")]
    assert all(one.shape == (1, 37, positions.shape[2]) for one in small)
    assert min((small[i] - small[j]).abs().max().item() for i, j in ((0, 1), (0, 2), (1, 2))) > 0.5
    assert resize_positions(positions, (14, 14), "dino") is positions
    # 29 / 7 * 7 is below 29 in floating point: the grid must come out whole all the same.
    grid = positions[:, :50]
    assert resize_positions(grid, (29, 27), "msn").shape == resize_positions(grid, (29, 27), "dino").shape


@pytest.mark.parametrize("rule", ["dino", "msn"])
def test_a_vit_follows_the_rule_at_every_size_it_is_given(rule: str) -> None:
    torch.manual_seed(0)
    vit = timm.create_model("test_vit", num_classes=0, img_size=64, dynamic_img_size=True).eval()
    torch.nn.init.normal_(vit.pos_embed)
    by_timm = {size: vit(torch.ones(1, 3, size, size)).detach() for size in (64, 96, 32)}
    names = list(vit.state_dict())
    set_position_rule(vit, rule)  # type: ignore[arg-type]
    assert list(vit.state_dict()) == names
    assert_close(vit(torch.ones(1, 3, 64, 64)), by_timm[64])
    for size in (32, 96):
        found = vit(torch.ones(1, 3, size, size))
        assert (found - by_timm[size]).abs().max() > 1e-3
        # The same network built for that size, with positions resampled beforehand.
        side = size // 16
        fixed = timm.create_model("test_vit", num_classes=0, img_size=size).eval()
        state = dict(vit.state_dict())
        state["pos_embed"] = resize_positions(vit.pos_embed, (side, side), rule)  # type: ignore[arg-type]
        fixed.load_state_dict(state)
        assert_close(found, fixed(torch.ones(1, 3, size, size)), rtol=1e-4, atol=1e-5)
    found.sum().backward()
    assert vit.pos_embed.grad is not None


def test_a_network_without_class_token_positions_is_refused() -> None:
    with pytest.raises(LowzooError, match="class token has a position, and ResNet is none"):
        set_position_rule(timm.create_model("resnet18", num_classes=0), "dino")
