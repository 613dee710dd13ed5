"""ViT that resamples its position embeddings for other sizes as DINO's and SSLight's code does, not as timm does.

At the size of the weights the network is timm's. See `lowzoo.zoo.architectures.positions` for the rules.
"""

import dataclasses
from pathlib import Path
from typing import Any, Final, cast

from safetensors.torch import load_file
from timm.models import PretrainedCfg, model_entrypoint
from torch import Tensor, nn

from lowzoo.catalog.position_rules import Rule
from lowzoo.zoo.architectures.positions import resize_positions, set_position_rule

_RULE: Final = "dino"


def create_official_positions(architecture: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Create a ViT; arguments as for any timm entry point, after the name of timm's architecture."""
    cfg: PretrainedCfg = kwargs.pop("pretrained_cfg")
    state = _weights(cfg) if pretrained and kwargs.get("img_size") and not kwargs.get("patch_size") else None
    if state is not None:
        cfg = dataclasses.replace(cfg, state_dict=at_size(state, kwargs["img_size"], _RULE))
    model: nn.Module = model_entrypoint(architecture)(pretrained=pretrained, pretrained_cfg=cfg, **kwargs)
    vit: Any = getattr(model, "model", model)  # the network inside of timm's feature extractor
    for described in (cast("Any", model), vit):
        described.pretrained_cfg.pop("state_dict", None)
    if kwargs.get("dynamic_img_size"):
        set_position_rule(vit, _RULE)
    return model


def at_size(state: dict[str, Tensor], img_size: int | tuple[int, int], rule: Rule) -> dict[str, Tensor]:
    """The weights of a ViT with positions for images of `img_size` pixels, so that timm has nothing to resample."""
    return state | {"pos_embed": resize_positions(state["pos_embed"], _grid(state, img_size), rule)}


def _grid(state: dict[str, Tensor], img_size: int | tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of patches in an image."""
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    rows, columns = state["patch_embed.proj.weight"].shape[-2:]
    return height // rows, width // columns


def _weights(cfg: PretrainedCfg) -> dict[str, Tensor] | None:
    """The tensors that a configuration brings or names as a file; None for any other place, which timm knows."""
    if cfg.state_dict:
        return dict(cfg.state_dict)
    if cfg.file and Path(cfg.file).suffix == ".safetensors":
        state: dict[str, Tensor] = load_file(cfg.file)
        return state
    return None
