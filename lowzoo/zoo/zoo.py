"""The models of the zoo as timm knows them: one entry point a model, configured by the catalog.

timm reads three things off the module that registers: `default_cfgs` (which must exist before the entry points are
registered), each entry point's `__name__` and the last part of its `__module__` (so this file must not be called like
one of timm's own modules). An entry point finds out which weights are wanted, refuses what cannot be loaded with one
clear sentence, and leaves the rest to timm's own entry point of the student architecture.

The spelling `timm.create_model("lowzoo/NAME")`.

timm up to 1.0.28 drops whatever stands before a slash, so that `lowzoo/x` means any model called x; timm from 1.0.29
on raises ValueError for a slash without a scheme, and offers no way to add a scheme. One spelling has to work on both,
so the function of timm that takes a name apart learns the one prefix `lowzoo/`. Every other name reaches timm's own
function untouched.
"""

import dataclasses
import functools
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm.models
from timm.models import (
    PretrainedCfg,
    _factory,
    generate_default_cfgs,
    model_entrypoint,
    register_model,
    resolve_pretrained_cfg,
)
from torch import nn

from lowzoo import catalog
from lowzoo.catalog import ModelEntry, WeightsEntry
from lowzoo.io.safetensors_file import check_safetensors
from lowzoo.zoo.architectures import BUILDERS
from lowzoo.zoo.pretrained import weights_file

EntryPoint = Callable[..., nn.Module]
# Names of layers and the size rule by student architecture: what timm needs to adapt weights to other channels, classes
# and sizes. `classifier` must be named although the weights have none, or `num_classes=10` fails on missing keys.
_RESNET = {"first_conv": "conv1", "classifier": "fc", "pool_size": (7, 7)}
_VIT = {"first_conv": "patch_embed.proj", "classifier": "head", "fixed_input_size": True}
_EFFICIENTNET = {"first_conv": "conv_stem", "classifier": "classifier", "pool_size": (7, 7)}
_LAYERS: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": _VIT,
    "vit_small_patch16_224": _VIT,
    "resnet18": _RESNET,
    "resnet34": _RESNET,
    "resnet50": _RESNET,
    "mobilenetv2_100": _EFFICIENTNET,
    "mobilenetv3_large_100": _EFFICIENTNET,
    "tf_efficientnet_b0": _EFFICIENTNET,
    "tf_efficientnet_b1": _EFFICIENTNET,
    "regnety_080": {"first_conv": "stem.conv", "classifier": "head.fc", "pool_size": (7, 7)},
}


def _pretrained_cfg(entry: ModelEntry, weights: WeightsEntry) -> dict[str, Any]:
    return {
        "file": str(weights.path) if weights.path else None,
        "num_classes": 0,
        "input_size": weights.input_size,
        "mean": weights.mean,
        "std": weights.std,
        "interpolation": weights.interpolation,
        "crop_pct": weights.crop_pct,
        "license": weights.license or None,
        "paper_ids": f"arXiv:{catalog.recipes()[entry.recipe].arxiv}",
        "paper_name": catalog.recipes()[entry.recipe].title,
        "description": weights.summary,
        "origin_url": weights.page or None,
        # For timm's own lists of what can be had; the files are fetched and converted here, see `_with_source`.
        "url": weights.plain_url,
        "hf_hub_id": weights.repo or None,
        "hf_hub_filename": weights.checkpoint if weights.repo and weights.checkpoint else None,
        **_LAYERS[entry.architecture],
    }


default_cfgs = generate_default_cfgs(
    {
        # The star makes the catalog's first tag the default one, whether or not it has weights.
        f"{entry.name}.{weights.tag}{'*' if weights is entry.default else ''}": _pretrained_cfg(entry, weights)
        for entry in catalog.models().values()
        for weights in entry.weights
    }
)


def register() -> None:
    """Make the models and the spelling `lowzoo/NAME` known to timm; calling it again changes nothing."""
    install()
    importlib.import_module("lowzoo.zoo.architectures.wide_resnet")  # registers itself with timm
    for entry in catalog.models().values():
        if not hasattr(sys.modules[__name__], entry.name):
            function = _entry_point(entry)
            setattr(sys.modules[__name__], entry.name, function)
            register_model(function)


def _entry_point(entry: ModelEntry) -> EntryPoint:
    def create(
        pretrained: bool = False,
        pretrained_cfg: str | dict[str, Any] | PretrainedCfg | None = None,
        pretrained_cfg_overlay: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> nn.Module:
        if isinstance(pretrained_cfg, str):
            catalog.find(f"{entry.name}.{pretrained_cfg}")
        cfg = resolve_pretrained_cfg(entry.name, pretrained_cfg, pretrained_cfg_overlay)
        if pretrained:
            cfg = _with_source(entry, cfg, kwargs.get("cache_dir"))
        if entry.stock:
            # What is saved from this model later (timm's save_for_hf, push_to_hf_hub) then loads without lowzoo.
            cfg = dataclasses.replace(cfg, architecture=entry.architecture)
        build = functools.partial(BUILDERS[entry.builder], entry.architecture) if entry.builder else None
        build = build or model_entrypoint(entry.architecture)
        model: nn.Module = build(pretrained=pretrained, pretrained_cfg=cfg, **kwargs)
        return model

    recipe = catalog.recipes()[entry.recipe]
    create.__name__ = create.__qualname__ = entry.name
    create.__doc__ = f"{entry.architecture} trained by {recipe.label} (arXiv {recipe.arxiv}); feature: {entry.feature}."
    return create


def _with_source(entry: ModelEntry, cfg: PretrainedCfg, cache_dir: str | Path | None) -> PretrainedCfg:
    """The configuration with a file to load from, fetched if need be; refuses what cannot be loaded."""
    if cfg.source == "local-dir" or cfg.state_dict:
        return cfg
    if cfg.file:
        check_safetensors(cfg.file)
        return cfg
    _, weights = catalog.find(f"{entry.name}.{cfg.tag}" if cfg.tag else entry.name)
    known = default_cfgs[entry.name].cfgs[weights.tag]
    if (cfg.url or cfg.hf_hub_id) and (cfg.url, cfg.hf_hub_id) != (known.url, known.hf_hub_id):
        return cfg  # the caller names another place than the catalog's
    return dataclasses.replace(cfg, file=str(weights_file(entry, weights, cache_dir)))


def install() -> None:
    """Teach timm the prefix; calling it again changes nothing."""
    original = _factory.parse_model_name
    if getattr(original, "knows_lowzoo", False):
        return

    @functools.wraps(original)
    def parse_model_name(model_name: str) -> tuple[str | None, str]:
        if not (isinstance(model_name, str) and model_name.startswith(catalog.PREFIX)):
            name: tuple[str | None, str] = original(model_name)
            return name
        catalog.find(model_name)
        return None, model_name.removeprefix(catalog.PREFIX)

    parse_model_name.knows_lowzoo = True  # type: ignore[attr-defined]  # a mark on a function has no declaration
    _factory.parse_model_name = parse_model_name
    timm.models.parse_model_name = parse_model_name
