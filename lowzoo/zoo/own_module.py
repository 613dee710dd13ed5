"""A network that a program built itself, such as a fine-tuned one, made ready for evaluation and export."""

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.notes import say_once
from lowzoo.preprocess.input_facts import Side, both_sides, input_facts, size_text
from lowzoo.zoo.find import BUILT_SCHEME
from lowzoo.zoo.resolve import Resolved, check_patches

_REMEDY = "Give lowzoo.load(network, size=..., mean=..., std=...), or set the network's pretrained_cfg as timm does"
_DIGITS = 12
# As timm's evaluation has them where an architecture does not say otherwise.
_USUAL = {"interpolation": "bicubic", "crop_pct": 0.875}


def resolved_module(
    module: nn.Module,
    *,
    name: str | None = None,
    size: Side | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    interpolation: str | None = None,
    crop_pct: float | None = None,
) -> Resolved:
    """Take a copy of a network, in eval mode and float32, with how it is fed.

    Args:
        module: (B, C, H, W) normalised to (B, D) features or scores; it is left as it is.
        name: What messages and files call it; its class, or timm's name of its architecture, if None.
        size: Side of the input in pixels, or (height, width); the configuration's if None.
        mean: Mean of the normalisation, in [0, 1]; the configuration's if None.
        std: Standard deviation of the normalisation, in [0, 1]; the configuration's if None.
        interpolation: Filter of the resize; the configuration's if None.
        crop_pct: Side of the centre crop by the side after resizing; the configuration's if None.

    Raises:
        LowzooError: Nothing says how it is fed, or it does not run or gives something else than (B, D).
    """
    stated: dict[str, Any] = dict(getattr(module, "pretrained_cfg", None) or {})
    stated.pop("state_dict", None)
    called = name or stated.get("architecture") or type(module).__name__.lower()
    stated |= {key: tuple(value) for key, value in (("mean", mean), ("std", std)) if value is not None}
    stated |= {
        key: value for key, value in (("interpolation", interpolation), ("crop_pct", crop_pct)) if value is not None
    }
    missing = [key for key in ("mean", "std") if key not in stated]
    missing += ["size"] if size is None and "input_size" not in stated else []
    if missing:
        raise LowzooError(f"nothing says how pictures are made for {called}: no {', no '.join(missing)}", _REMEDY)
    if size is not None:
        size = both_sides(size)
        stated["input_size"] = (len(stated["mean"]), *size)
    if assumed := [f"{key} {value}" for key, value in _USUAL.items() if key not in stated]:
        say_once(f"nothing says how pictures are resized for {called}: taken as {', '.join(assumed)}, as timm does")
    facts = input_facts({**_USUAL, **stated}, called, size=size)
    own = copy.deepcopy(module).eval().to("cpu", torch.float32)
    if size is not None:
        check_patches(own, size)
    classes = int(getattr(own, "num_classes", 0) or 0)
    resolved = Resolved(
        model=own,
        name=called,
        revision="",
        input_size=facts.input_size,
        mean=facts.mean,
        std=facts.std,
        interpolation=facts.interpolation,
        crop_pct=facts.crop_pct,
        license="",
        recipe="",
        trained=True,
        crop_mode=facts.crop_mode,
        classes=classes,
        headless=classes == 0,
    )
    _check_output(resolved)
    return _identified(resolved)


def _check_output(resolved: Resolved) -> None:
    channels, height, width = resolved.input_size
    try:
        with torch.inference_mode():
            found = resolved.model(torch.zeros(1, channels, height, width))
    except Exception as error:  # whatever somebody's network raises
        raise LowzooError(
            f"{resolved.name} does not run on {channels} channels of {size_text((height, width))} px "
            f"({reason_of(error)})",
            "Give the size and the normalisation that it was trained with",
        ) from error
    if not isinstance(found, torch.Tensor) or found.ndim != 2:
        shape = f"shape {tuple(found.shape)}" if isinstance(found, torch.Tensor) else f"a {type(found).__name__}"
        raise LowzooError(
            f"{resolved.name} gives {shape}, not a row (B, D) for each picture", "Wrap it so that it does"
        )


def _identified(resolved: Resolved) -> Resolved:
    from lowzoo.zoo.digest import weights_digest

    digest = weights_digest(resolved.model)[:_DIGITS]
    return dataclasses.replace(resolved, revision=f"weights {digest}", source=f"{BUILT_SCHEME}{digest}")
