"""The one way from the word MODEL on a command line to a network: `load_model`.

The word is a name of the zoo, a repository of the Hub, a folder in timm's local-dir format (a run folder is one), or
any timm name.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import nn

from lowzoo.architectures.official_positions import at_size
from lowzoo.errors import LowzooError, reason_of
from lowzoo.files import plain_path
from lowzoo.find import Found, find


@dataclass(frozen=True)
class Resolved:
    """A network that is ready for evaluation, and what one must know to feed it.

    Args:
        model: In eval mode and headless: (B, C, H, W) normalised to (B, D) features, float32.
        name: What the word meant, with the tag of the weights if there are any.
        revision: Which weights exactly: digest of the file, commit of the Hub, timm's version, or the random seed.
        input_size: (C, H, W).
        mean: Of the normalisation, in [0, 1].
        std: Of the normalisation, in [0, 1].
        interpolation: Of the resize.
        crop_pct: Side of the centre crop by the shorter side after resizing.
        license: SPDX identifier of the weights, empty if not known or if there are none.
        recipe: How the zoo trained them, empty for any other weights.
        trained: False for a random initialisation.
    """

    model: nn.Module
    name: str
    revision: str
    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_pct: float
    license: str
    recipe: str
    trained: bool


def load_model(
    word: str, *, image_size: int | None = None, pretrained: bool = True, seed: int = 0, classes: bool = False
) -> Resolved:
    """Find, build and load the model that a word means.

    Args:
        word: `rob_vit_tiny` (also `lowzoo/...`, also with `.tag`), `hf-hub:ORG/NAME[@sha]`, a folder with `config.json`
            and `model.safetensors`, or a timm name.
        image_size: Side in pixels of the square input; the weights' own if None.
        pretrained: Load the weights; otherwise the network is random.
        seed: Of the random initialisation.
        classes: Leave the classifier that the weights come with, if any; the network then gives logits.

    Raises:
        LowzooError: Unknown word, weights that cannot be had, or an impossible image size.
    """
    found = find(word, pretrained=pretrained)
    arguments = {**found.arguments} if classes else {**found.arguments, "num_classes": 0}
    if found.explicit_cfg:
        arguments["pretrained_cfg"] = found.cfg
    if image_size is not None:
        _check_image_size(image_size)
        if found.cfg.get("fixed_input_size"):
            arguments["img_size"] = image_size
    with _explained(found, image_size), torch.random.fork_rng(devices=[]):
        if pretrained and found.file is not None and found.positions != "timm" and "img_size" in arguments:
            state = at_size(load_file(plain_path(found.file)), arguments["img_size"], found.positions)
            arguments["pretrained_cfg"] = found.cfg | {"state_dict": state}
        torch.manual_seed(seed)
        model = timm.create_model(found.architecture, pretrained=pretrained, **arguments)
    if pretrained and found.file is not None:
        _check_complete(model, found.file)
    if image_size is not None:
        check_patches(model, image_size)
    cfg = model.pretrained_cfg
    cfg.pop("state_dict", None)
    channels, height, width = cfg["input_size"]
    return Resolved(
        model=model.eval(),
        name=found.name,
        revision=found.revision if pretrained else f"random initialisation, seed {seed}",
        input_size=(channels, image_size or height, image_size or width),
        mean=tuple(cfg["mean"]),
        std=tuple(cfg["std"]),
        interpolation=cfg["interpolation"],
        crop_pct=cfg["crop_pct"],
        license=(found.license or cfg.get("license") or "") if pretrained else "",
        recipe=found.recipe if pretrained else "",
        trained=pretrained,
    )


@contextlib.contextmanager
def _explained(found: Found, image_size: int | None) -> Iterator[None]:
    """Turn what timm, torch and the Hub raise while a model is built into one sentence; `--debug` shows the cause."""
    try:
        yield
    except (LowzooError, KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:
        reason = reason_of(error)
        if found.file is not None:
            raise LowzooError(
                f"{found.file} does not fit the architecture {found.architecture} ({reason})", "Write the folder again"
            ) from error
        if image_size is not None:
            raise LowzooError(
                f"{found.name} cannot be built or loaded at {image_size} px ({reason})", "Name another size"
            ) from error
        raise LowzooError(
            f"the weights of {found.name} cannot be had ({reason})",
            "Run once with a network to fill the cache, or name a model whose weights are bundled (`lowzoo list`)",
        ) from error


def _check_complete(model: nn.Module, file: Path) -> None:
    """Refuse a file that left parameters random: with another number of classes timm loads leniently."""
    from safetensors import safe_open

    with safe_open(plain_path(file), framework="numpy") as tensors:
        missing = sorted(set(model.state_dict()) - set(tensors.keys()))
    if missing:
        raise LowzooError(f"{file} lacks {len(missing)} tensors, e.g. {missing[0]}", "Write the folder again")


def _check_image_size(image_size: int) -> None:
    if not 16 <= image_size <= 4096:
        raise LowzooError(f"an image size of {image_size} px is impossible", "Name a side between 16 and 4096 px")


def check_patches(model: nn.Module, image_size: int) -> None:
    """Refuse a size whose border would be cut off: patches are taken from the upper left corner on.

    Args:
        model: Any network; one without patches takes every size.
        image_size: Side in pixels.

    Raises:
        LowzooError: The size is no multiple of the side of a patch.
    """
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    side = patch[0] if isinstance(patch, tuple) else patch
    if isinstance(side, int) and image_size % side:
        lower = image_size // side * side
        raise LowzooError(
            f"{image_size} px is no multiple of the patch size of {side} px", f"Take {lower} or {lower + side} px"
        )
