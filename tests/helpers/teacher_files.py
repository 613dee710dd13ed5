"""Checkpoints in the layouts of the official trainers, with small random networks; other branches hold other values."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from lowzoo import catalog
from lowzoo.catalog import TeacherEntry

HIDDEN, NARROW, OUTPUTS, SIDE = 24, 12, 30, 64
FAMILIES = {
    "dino": "dino_vits16",
    "ibot": "ibot_vits16",
    "msn": "msn_vits16",
    "swav": "swav_r50",
    "moco": "moco_v2_r50",
    "simclr": "simclr_r50",
}


def small_entry(family: str) -> TeacherEntry:
    """A catalog entry whose network is small."""
    entry = catalog.teacher(FAMILIES[family])
    vit = family in ("dino", "ibot", "msn")
    return replace(
        entry,
        architecture="test_vit" if vit else "test_resnet",
        feature_dim=64 if vit else 96,
        input_size=(3, SIDE, SIDE),
        md5="",
    )


def make_checkpoint(family: str, path: Path, *, head: bool = True) -> tuple[nn.Module, dict[str, Tensor]]:
    """Write a file; returns the backbone, in eval mode, and the head's tensors under the names of the original."""
    torch.manual_seed(0)
    entry = small_entry(family)
    arguments = {"img_size": SIDE} if entry.positions != "timm" else {}
    backbone = timm.create_model(entry.architecture, num_classes=0, **arguments).eval()
    _randomise(backbone)
    state = dict(backbone.state_dict())
    tensors = head_tensors(family, entry.feature_dim) if head else {}
    torch.save(_LAYOUTS[family](state, tensors), path)
    return backbone, tensors


def head_tensors(family: str, width: int) -> dict[str, Tensor]:
    """The head of a family under its original names, random."""
    sizes = {
        "dino": {"mlp.0": (HIDDEN, width), "mlp.2": (HIDDEN, HIDDEN), "mlp.4": (NARROW, HIDDEN)},
        "msn": {"fc.fc1": (HIDDEN, width), "fc.fc2": (HIDDEN, HIDDEN), "fc.fc3": (NARROW, HIDDEN)},
        "swav": {"projection_head.0": (HIDDEN, width), "projection_head.3": (NARROW, HIDDEN)},
        "moco": {"fc.0": (width, width), "fc.2": (NARROW, width)},
        "simclr": {"fc.0": (width, width), "fc.3": (NARROW, width)},
    }
    norms = {
        "msn": {"fc.bn1": HIDDEN, "fc.bn2": HIDDEN},
        "swav": {"projection_head.1": HIDDEN},
        "simclr": {"fc.1": width},
    }
    kind = "dino" if family == "ibot" else family
    found: dict[str, Tensor] = {}
    for name, size in sizes[kind].items():
        found |= {f"{name}.weight": torch.randn(size) / size[1] ** 0.5, f"{name}.bias": torch.randn(size[0]) / 10}
    for name, size in norms.get(kind, {}).items():
        found |= {
            f"{name}.weight": torch.rand(size) + 0.5,
            f"{name}.bias": torch.randn(size) / 10,
            f"{name}.running_mean": torch.randn(size) / 10,
            f"{name}.running_var": torch.rand(size) + 0.5,
            f"{name}.num_batches_tracked": torch.tensor(7),
        }
    if kind == "dino":
        found |= {
            "last_layer.weight_g": torch.rand(OUTPUTS, 1) + 0.5,
            "last_layer.weight_v": torch.randn(OUTPUTS, NARROW),
        }
    if family == "ibot":
        found |= {f"last_layer2.{part}": found[f"last_layer.{part}"].clone() for part in ("weight_g", "weight_v")}
    if family == "msn":
        found["prototypes"] = torch.randn(OUTPUTS, NARROW)
    if family == "swav":
        found["prototypes.weight"] = nn.functional.normalize(torch.randn(OUTPUTS, NARROW))
    return found


def head_output(family: str, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """What the original head makes of features (..., D), written out once more."""

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        mean, var = tensors[f"{name}.running_mean"], tensors[f"{name}.running_var"]
        return (x - mean) / (var + 1e-5).sqrt() * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def unit(x: Tensor) -> Tensor:
        return x / x.norm(dim=-1, keepdim=True)

    gelu = nn.functional.gelu
    if family in ("dino", "ibot"):
        x = unit(linear("mlp.4", gelu(linear("mlp.2", gelu(linear("mlp.0", x))))))
        return x @ (tensors["last_layer.weight_g"] * unit(tensors["last_layer.weight_v"])).T
    if family == "msn":
        x = gelu(norm("fc.bn2", linear("fc.fc2", gelu(norm("fc.bn1", linear("fc.fc1", x))))))
        return unit(linear("fc.fc3", x)) @ unit(tensors["prototypes"]).T
    if family == "swav":
        x = linear("projection_head.3", norm("projection_head.1", linear("projection_head.0", x)).relu())
        return unit(x) @ tensors["prototypes.weight"].T
    if family == "moco":
        return linear("fc.2", linear("fc.0", x).relu())
    return linear("fc.3", norm("fc.1", linear("fc.0", x)).relu())


def _dino(backbone: dict[str, Tensor], head: dict[str, Tensor]) -> dict[str, Any]:
    teacher = _under("backbone.", backbone) | _under("head.", head)
    return {
        "student": _other(_under("module.", teacher)) | {"module.backbone.masked_embed": torch.zeros(1, 64)},
        "teacher": teacher,
        "optimizer": {"state": {}, "param_groups": []},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_small", out_dim=OUTPUTS),
        "dino_loss": {"center": torch.zeros(1, OUTPUTS)},
    }


def _msn(backbone: dict[str, Tensor], head: dict[str, Tensor]) -> dict[str, Any]:
    projection = {key: value for key, value in head.items() if key != "prototypes"}
    prototypes = {"prototypes": head["prototypes"]} if head else {}
    return {"target_encoder": _under("module.", backbone | projection), **prototypes}


def _swav(backbone: dict[str, Tensor], head: dict[str, Tensor]) -> dict[str, Any]:
    return _under("module.", backbone | head)


def _moco(backbone: dict[str, Tensor], head: dict[str, Tensor]) -> dict[str, Any]:
    query = _under("module.encoder_q.", backbone | head)
    key = _other(_under("module.encoder_k.", backbone | head))
    queue = {"module.queue": torch.zeros(NARROW, 8), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    return {"epoch": 200, "arch": "resnet50", "state_dict": queue | query | key, "optimizer": {"state": {}}}


def _simclr(backbone: dict[str, Tensor], head: dict[str, Tensor]) -> dict[str, Any]:
    return {"model": _under("module.module.module.", backbone | head)}


_LAYOUTS = {"dino": _dino, "ibot": _dino, "msn": _msn, "swav": _swav, "moco": _moco, "simclr": _simclr}


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def _other(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value + 1 for key, value in state.items()}


def _randomise(network: nn.Module) -> None:
    """Give every buffer, norm and position a value that matters."""
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if key.endswith(("running_mean", "bias", "pos_embed")):
                value.normal_(std=1.0 if key == "pos_embed" else 0.2)
            elif key.endswith("running_var") or (value.ndim == 1 and key.endswith("weight")):
                value.uniform_(0.5, 1.5)
