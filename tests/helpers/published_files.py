"""Checkpoints in the layouts of their authors, built from recorded names and shapes, with random weights.

`published_layouts.json.gz` holds what the official code of each family writes: every key with shape and type (SSLight
0b94aeb, SEED f236cac, DINO 7c446df, SwAV 06b1b7c, MSN 4388dc1, iBOT da316d8, MoCo 7397dfe; the released SEED files'
prefix as their author confirms it in issue 3 of that repository).
"""

import argparse
import gzip
import json
import sys
import types
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_TYPES = {"float32": torch.float32, "float16": torch.float16, "int64": torch.int64}
# Where the network lies that a family means: entries of the file, then the prefix of its keys.
BRANCHES = {
    "sslight_dino": (["state_dict"], "module.student.backbone."),
    "sslight_swav": (["state_dict"], "module.network.backbone."),
    "sslight_moco": (["state_dict"], "module.encoder_q.backbone."),
    "seed": (["state_dict"], "module.encoder_q."),
    "moco": (["state_dict"], "module.encoder_q."),
    "dino_vit": (["teacher"], "backbone."),
    "dino_r50": (["teacher"], "module.backbone."),
    "ibot": (["teacher"], "backbone."),
    "msn": (["target_encoder"], "module."),
    "swav": ([], "module."),
}


@cache
def layouts() -> dict[str, Any]:
    """The recorded layout of every family."""
    packed = Path(__file__).with_name("published_layouts.json.gz").read_bytes()
    found: dict[str, Any] = json.loads(gzip.decompress(packed))
    return found


def meta_content(family: str) -> dict[str, Any]:
    """The content of a checkpoint without any values."""
    return _build(layouts()[family], lambda shape, dtype: torch.empty(shape, dtype=dtype, device="meta"))


def make_content(family: str, seed: int = 0) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A checkpoint whose wanted network is random and whose other tensors are one value each, which takes no memory.

    Returns:
        The content, and the wanted network under its authors' names without the prefix.
    """
    content = _build(layouts()[family], lambda shape, dtype: torch.full((), 3, dtype=dtype).expand(shape))
    branch, prefix = _branch(family)
    state = content
    for entry in branch:
        state = state[entry]
    generator = torch.Generator().manual_seed(seed)
    wanted = {}
    for key, value in state.items():
        if key.startswith(prefix) and isinstance(value, Tensor):
            shape = layouts_shape(family, branch, key)
            wanted[key.removeprefix(prefix)] = state[key] = _random(key, shape, value.dtype, generator)
    return content, wanted


def layouts_shape(family: str, branch: list[str], key: str) -> list[int]:
    """The recorded shape of a tensor."""
    layout = layouts()[family]
    for entry in branch:
        layout = layout[entry]
    shape: list[int] = layout[key][0]
    return shape


def save(content: dict[str, Any], path: Path, *, zipped: bool = True) -> Path:
    """Write a checkpoint as its authors' code does; the class of SSLight's configuration exists only while writing."""
    module = types.ModuleType("fvcore.common.config")
    module.CfgNode = CfgNode  # type: ignore[attr-defined]
    names = ("fvcore", "fvcore.common", "fvcore.common.config")
    sys.modules.update(dict.fromkeys(names[:2], types.ModuleType("fvcore")) | {names[2]: module})
    try:
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
    finally:
        for name in names:
            del sys.modules[name]
    return path


class CfgNode(dict):  # type: ignore[type-arg]
    """As fvcore's: a dictionary with some attributes of its own."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.__dict__["__immutable__"] = False
        self.__dict__["__deprecated_keys__"] = set()


CfgNode.__module__, CfgNode.__qualname__ = "fvcore.common.config", "CfgNode"


def _branch(family: str) -> tuple[list[str], str]:
    return next(found for start, found in BRANCHES.items() if family.startswith(start))


def _build(layout: Any, tensor: Any) -> Any:
    if isinstance(layout, dict):
        return {key: _build(value, tensor) for key, value in layout.items()}
    if isinstance(layout, list) and len(layout) == 2 and isinstance(layout[0], list):
        return tensor(layout[0], _TYPES[layout[1]])
    return _OTHER.get(layout, layout)


_OTHER: dict[str, Any] = {
    "int": 199,
    "str": "resnet18",
    "optimizer state": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.03}]},
    "argparse.Namespace": argparse.Namespace(arch="vit_small", out_dim=65536),
    "fvcore.common.config.CfgNode": CfgNode({"MODEL": CfgNode({"ARCH": "resnet18"}), "SEED": 0}),
}


def _random(key: str, shape: list[int], dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Values that keep activations of the order of 1 and make every norm, bias and position matter."""
    if dtype == torch.int64:
        return torch.tensor(7)
    if key.endswith(("running_var",)) or (len(shape) == 1 and key.endswith("weight")):
        return torch.rand(shape, generator=generator) + 0.5
    values = torch.randn(shape, generator=generator)
    if key.endswith(("pos_embed", "cls_token")):
        return values
    fan_in = max(1, int(torch.tensor(shape[1:]).prod())) if len(shape) > 1 else 100
    return values * ((1 if ".attn." in key or ".mlp." in key else 2) / fan_in) ** 0.5
