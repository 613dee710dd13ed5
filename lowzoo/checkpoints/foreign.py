"""Anybody's checkpoint of a named architecture: the network that lies in it, and what was left out of it."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from lowzoo.base.errors import LowzooError
from lowzoo.catalog.position_rules import Rule
from lowzoo.catalog.shapes import Skeleton, known_skeleton
from lowzoo.checkpoints.early import refuse_architecture
from lowzoo.checkpoints.families.published import recognise
from lowzoo.checkpoints.files.content import beside, in_words
from lowzoo.checkpoints.files.fit import TOP, Fit, places_of
from lowzoo.checkpoints.files.torch_file import read_torch_file

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@dataclass(frozen=True)
class Foreign:
    """A network out of somebody's checkpoint, under timm's names.

    Args:
        state: Everything the network needs and nothing else, float32; with its classifier where the file has one.
        classes: Outputs of that classifier, 0 without.
        arguments: Further arguments for `timm.create_model`.
        cfg: How images are prepared, as timm names it.
        positions: How its position embeddings are resampled for other sizes.
        place: Where the network lies in the file.
        others: Other places that hold a network of this architecture.
        left_out: What else the file holds, in words.
    """

    state: dict[str, Tensor]
    classes: int
    arguments: dict[str, Any]
    cfg: dict[str, Any]
    positions: Rule
    place: str
    others: tuple[str, ...]
    left_out: str

    def describe(self, path: Path) -> str:
        """What was taken and how it will be fed, in one line."""
        taken = f"took {self.place}" if self.place else "took all of it"
        also = f" (also there: {', '.join(self.others)}; add #{self.others[0]} for that)" if self.others else ""
        left = f"; left out {self.left_out}" if self.left_out else ""
        if self.classes:
            left += f"; its classifier of {self.classes} classes is for commands that want classes alone"
        size, mean = self.cfg["input_size"][-1], ", ".join(f"{value:g}" for value in self.cfg["mean"])
        return f"{path.name}: {taken}{also}{left}; images at {size} px, normalised with mean {mean}"


def read_foreign(path: Path, architecture: str, branch: str = "") -> Foreign:
    """Take the network of an architecture out of a checkpoint.

    Args:
        path: `.pth`, `.pth.tar`, `.pt`, `.bin`, `.ckpt` or `.safetensors`, of any trainer.
        architecture: timm's name, with a tag if images are to be prepared as for these weights of timm.
        branch: Which of several copies, by a part of its place (`state_dict_ema`, `student`); chosen if empty.

    Raises:
        LowzooError: Unknown architecture, a damaged file, one that could run code, or one that does not fit.
    """
    base, _, tag = architecture.partition(".")
    refuse_architecture(architecture)
    content = read_checkpoint(path)
    if not branch and (known := recognise(content, base)) is not None:
        family = known.family
        cfg = _cfg(architecture, None, None, content) | _IMAGENET | {"interpolation": family.interpolation}
        cfg |= {"crop_pct": 0.875, "num_classes": 0}
        return Foreign(known.state, 0, dict(family.arguments), cfg, family.positions, family.name, (), known.left_out)
    expected = timm_skeleton(base)
    best, *others = places_of(
        path, architecture, content, branch, lambda name: expected if name == base else known_skeleton(name)
    )
    side = _side(best, expected)
    classes, classifier = _classifier(base, best, expected)
    names = {**expected.shapes, **classifier}
    state = {name: _plain(best.own[name], path, name) for name in names if name in best.own}
    for name in names.keys() - state.keys():  # counters of batches, which matter to no result
        state[name] = torch.zeros(names[name], dtype=torch.long)
    cfg = _cfg(architecture, side, classes, content)
    if not tag and not classes and not _by_timm(content):
        cfg |= _IMAGENET
    arguments = {"img_size": side} if side and expected.fixed else {}
    places = tuple(fit.place or TOP for fit in others)
    around = [tensor for fit in others if not fit.place for tensor in fit.own.values()]
    taken = {name: best.own[name] for name in names if name in best.own}
    left_out = in_words(beside(content, taken, places, around))
    return Foreign(state, classes, arguments, cfg, "timm", best.place, places, left_out)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint or a safetensors file holds; nothing in it is run.

    Raises:
        LowzooError: No such file, or not one of these, or damaged.
    """
    if not path.is_file():
        raise LowzooError(f"there is no file {path}", "Name the checkpoint")
    if path.suffix != ".safetensors":
        return read_torch_file(path)
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise LowzooError(f"{path} is damaged ({error})", "Get the file again") from error


def backbone_names(architecture: str) -> frozenset[str]:
    """Names of the tensors of a headless network."""
    return frozenset(timm_skeleton(architecture).shapes)


def _by_timm(content: Mapping[str, Any]) -> bool:
    return "arch" in content and "state_dict" in content and hasattr(content.get("args"), "model")


def _side(fit: Fit, expected: Skeleton) -> int | None:
    """Side in pixels of the images that a ViT was trained on, where it is not the architecture's own."""
    found, shape = fit.own.get("pos_embed"), expected.shapes.get("pos_embed")
    if found is None or shape is None or found.shape == shape or expected.patch is None:
        return None
    return expected.grid_side(found, shape) * expected.patch


def _classifier(architecture: str, fit: Fit, expected: Skeleton) -> tuple[int, dict[str, tuple[int, ...]]]:
    """Outputs of the architecture's classifier in a file, and the names it adds; 0 where it is not there or other."""
    weights = [fit.own.get(f"{name}.weight") for name in expected.classifiers]
    if not weights or weights[0] is None or weights[0].ndim < 2:
        return 0, {}
    classes = len(weights[0])
    shapes = timm_skeleton(architecture, classes).shapes
    extra = {name: shape for name, shape in shapes.items() if name not in expected.shapes}
    there = all(name in fit.own and fit.own[name].shape == shape for name, shape in extra.items())
    return (classes, extra) if there and extra else (0, {})


@functools.cache
def timm_skeleton(architecture: str, classes: int = 0) -> Skeleton:
    """Names and shapes of a network, which is not allocated where its code allows that."""
    import timm  # only here: what is no checkpoint has been refused by now
    from timm.models import get_pretrained_cfg

    try:
        with torch.device("meta"):
            model: nn.Module = timm.create_model(architecture, num_classes=classes)
    except Exception:  # some architectures compute with their own tensors as they are built
        model = timm.create_model(architecture, num_classes=classes)
    cfg = get_pretrained_cfg(architecture)
    named = (getattr(cfg, "classifier", None) or ()) if cfg else ()
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    outside = getattr(model, "no_embed_class", False)
    return Skeleton(
        {key: value.shape for key, value in model.state_dict().items()},
        (named,) if isinstance(named, str) else tuple(named),
        0 if outside else int(getattr(model, "num_prefix_tokens", 0)),
        patch[0] if isinstance(patch, tuple) else patch,
        bool(cfg and cfg.fixed_input_size),
    )


def _plain(tensor: Tensor, path: Path, name: str) -> Tensor:
    """In float32 and on its own; whole numbers stay what they are."""
    if tensor.is_quantized or tensor.is_complex() or tensor.layout is not torch.strided:
        raise LowzooError(f"{path} holds {name} in a quantised or sparse form", "Name the file of the plain network")
    if not tensor.is_floating_point():
        if tensor.ndim:
            raise LowzooError(f"{path} holds {name} as {tensor.dtype}", "Name the file of the plain network")
        return tensor.clone()
    return tensor.detach().to(torch.float32).contiguous()


def _cfg(architecture: str, side: int | None, classes: int | None, content: Mapping[str, Any]) -> dict[str, Any]:
    """How images are prepared: as the file says, or as timm does for the architecture or the tag."""
    from timm.models import get_pretrained_cfg

    known = get_pretrained_cfg(architecture)
    cfg: dict[str, Any] = known.to_dict() if known else {}
    for key in ("url", "file", "hf_hub_id", "hf_hub_filename", "source", "state_dict", "custom_load", "license", "tag"):
        cfg.pop(key, None)
    cfg["num_classes"] = classes or 0
    if side:
        cfg["input_size"] = (3, side, side)
    arguments = content.get("args")
    for key in ("mean", "std"):
        value = getattr(arguments, key, None)
        if isinstance(value, list | tuple) and len(value) == 3 and all(isinstance(part, int | float) for part in value):
            cfg[key] = tuple(float(part) for part in value)
    return cfg
