"""The models of the zoo as timm knows them: one entry point a model, configured by the catalog.

timm reads three things off the module that registers: `default_cfgs` (which must exist before the entry points are
registered), each entry point's `__name__` and the last part of its `__module__` (so this file must not be called like
one of timm's own modules). An entry point finds out which weights are wanted, refuses what cannot be loaded with one
clear sentence, and leaves the rest to timm's own entry point of the student architecture.
"""

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

from timm.models import PretrainedCfg, generate_default_cfgs, model_entrypoint, register_model, resolve_pretrained_cfg
from torch import nn

from lowzoo import catalog, spelling
from lowzoo.catalog import ModelEntry, WeightsEntry
from lowzoo.errors import LowzooError
from lowzoo.pooled_mobilenetv3 import create_pooled_mobilenetv3
from lowzoo.weights_file import check_safetensors

EntryPoint = Callable[..., nn.Module]

# Names of layers and the size rule by student architecture: what timm needs to adapt weights to other channels, classes
# and sizes. `classifier` must be named although the weights have none, or `num_classes=10` fails on missing keys.
_LAYERS: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {"first_conv": "patch_embed.proj", "classifier": "head", "fixed_input_size": True},
    "mobilenetv3_large_100": {"first_conv": "conv_stem", "classifier": "classifier", "pool_size": (7, 7)},
    "resnet18": {"first_conv": "conv1", "classifier": "fc", "pool_size": (7, 7)},
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
    spelling.install()
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
            _check_source(entry, cfg)
        if entry.stock:
            # What is saved from this model later (timm's save_for_hf, push_to_hf_hub) then loads without lowzoo.
            cfg = dataclasses.replace(cfg, architecture=entry.architecture)
        build = model_entrypoint(entry.architecture) if entry.stock else create_pooled_mobilenetv3
        model: nn.Module = build(pretrained=pretrained, pretrained_cfg=cfg, **kwargs)
        return model

    recipe = catalog.recipes()[entry.recipe]
    create.__name__ = create.__qualname__ = entry.name
    create.__doc__ = f"{entry.architecture} trained by {recipe.label} (arXiv {recipe.arxiv}); feature: {entry.feature}."
    return create


def _check_source(entry: ModelEntry, cfg: PretrainedCfg) -> None:
    """Refuse weights that nobody published and files that are missing or damaged, before anything is built."""
    if cfg.file and cfg.source != "local-dir":
        check_safetensors(cfg.file)
    elif not (cfg.has_weights or cfg.state_dict):
        _, weights = catalog.find(f"{entry.name}.{cfg.tag}" if cfg.tag else entry.name)
        raise LowzooError(
            f"the weights {entry.name}.{weights.tag} are not published",
            f"Make them with `{weights.train}`, or create the model with pretrained=False",
        )
