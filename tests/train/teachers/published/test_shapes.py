"""The true key lists and shapes of published checkpoints find their place, all of them, without any value."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.checkpoints.files.torch_file import fill
from lowzoo.train.teachers import published
from lowzoo.train.teachers.published.backbones import build_backbone

# What the official code saves: the wanted branch, key by key. DINO's ResNet-50 is as today's code would save it.
SHAPES = json.loads((Path(__file__).parent / "teacher_shapes.json").read_text())


def without_values(shapes: Any) -> Any:
    if isinstance(shapes, dict):
        return {key: without_values(value) for key, value in shapes.items()}
    return torch.empty(shapes, device="meta")


@pytest.mark.filterwarnings("ignore:for last_layer")  # values for a network without any
@pytest.mark.parametrize("name", SHAPES)
def test_every_key_of_a_published_file_has_a_place(name: str) -> None:
    entry = catalog.teacher(name)
    split = partial(published.split, entry.family)
    content = without_values(SHAPES[name])
    if entry.family == "ibot":  # its two last layers are compared, which needs values
        last = {key: torch.zeros(value.shape) for key, value in content["teacher"].items() if "last_layer" in key}
        content["teacher"] |= last
    parts = split(content, Path(name))
    with torch.device("meta"):
        backbone = build_backbone(entry)
        head, outputs = published.build_head(entry.family, parts.head, Path(name))
    fill(backbone, parts.backbone, Path(name), "the backbone")
    fill(head, parts.head, Path(name), "the head")
    assert sum(parameter.numel() for parameter in backbone.parameters()) == entry.params
    assert head.in_dim == entry.feature_dim
    assert outputs == (65536 if name == "dino_r50" else entry.head_dim)
    widths = [parameter.shape for key, parameter in head.named_parameters() if parameter.ndim == 2]
    if entry.hidden_dim:
        assert (entry.hidden_dim, entry.feature_dim) in widths
        assert any(entry.bottleneck_dim in width for width in widths)


def test_no_tensor_is_left_over_or_missing() -> None:
    entry = catalog.teacher("swav_r50")
    content = without_values(SHAPES["swav_r50"])
    parts = published.split("swav", content, Path("file"))
    with torch.device("meta"):
        backbone = build_backbone(entry)
        wide = build_backbone(replace(entry, width=2))
    with pytest.raises(LowzooError, match=r"1 left over \(first fc.weight\)"):
        fill(backbone, {**parts.backbone, "fc.weight": torch.empty(1, device="meta")}, Path("file"), "it")
    del parts.backbone["layer3.1.bn2.running_var"]
    with pytest.raises(LowzooError, match=r"1 missing \(first layer3.1.bn2.running_var\)"):
        fill(backbone, parts.backbone, Path("file"), "it")
    with pytest.raises(LowzooError, match=r"conv1.weight is 64 x 3 x 7 x 7 there, 128 x 3 x 7 x 7 expected"):
        fill(wide, parts.backbone, Path("file"), "it")
