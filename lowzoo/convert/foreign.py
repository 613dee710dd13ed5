"""Anybody's checkpoint of a named architecture: where the network lies in the file, and what was left out of it.

Trainers wrap a network in their own names (`module.`, `_orig_mod.`, `model.`, `backbone.`, `encoder_q.`, ...), keep
several copies of it and lay other things beside. Nothing of that is looked up in a list: the place of the network is
the dictionary and the prefix under which the names and shapes of the architecture are found, all of them.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from lowzoo import catalog
from lowzoo.convert import recognise
from lowzoo.early import knows_architecture, refuse_architecture
from lowzoo.errors import LowzooError
from lowzoo.position_rules import Rule
from lowzoo.torch_file import StandIn, module_tensors, read_torch_file

# What torch.compile, FSDP and activation checkpointing write between the names of a network.
_WRAPPERS = re.compile(r"(^|\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)")
# What trainers lay beside a backbone under the same prefix, by the first part of its name.
_HEADS = re.compile(
    r"(\w+_)?(heads?|fc\d?|classifier|logits|proj|projection|projector|prototypes?|predictor|pred|mlp|last_layer|"
    r"queue|queue_ptr|mask(ed)?_(token|embed)|cent(er|re)|n_averaged|loss|criterion|optimizer)\d*(_\w+)?|decoder_?\w*"
)
# Copies that are evaluated come first, those that only serve as keys last; in between the order of the file decides.
_EVALUATED = re.compile(r"(^|[._])(ema|teacher|target_encoder)([._]|$)")
_KEYS = re.compile(r"(^|[._])(momentum|momentum_encoder|encoder_k|target)([._]|$)")
_DEEPEST = 8
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_STUDENTS = ("convnext_tiny", "vit_base_patch16_224", "vit_small_patch14_dinov2", "deit_small_distilled_patch16_224")

Shapes = dict[str, torch.Size]


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


@dataclass(frozen=True)
class _Skeleton:
    """Names and shapes of an architecture, and what of them is its classifier."""

    shapes: Shapes
    classifiers: tuple[str, ...]
    prefix_tokens: int
    patch: int | None
    fixed: bool


@dataclass
class _Fit:
    """How well the tensors below one prefix fill an architecture."""

    place: str
    own: Mapping[str, Tensor]
    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    filled: int = 0

    @property
    def complete(self) -> bool:
        return not (self.missing or self.wrong or self.inside)


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
        return Foreign(known.state, 0, dict(family.arguments), cfg, family.positions, family.name, (), "")
    expected = _skeleton(base)
    fits = [fit for place, state in _branches(content) for fit in _fits(place, state, expected)]
    if branch:
        named = [fit for fit in fits if f".{branch.strip('.')}." in f".{fit.place}."]
        if not named:
            places = ", ".join(fit.place for fit in fits if fit.complete) or "none"
            raise LowzooError(f"{path} holds no {branch}", f"Name a place that holds this architecture: {places}")
        fits = named
    complete = [fit for fit in fits if fit.complete]
    if not complete:
        raise _misfit(path, architecture, expected, fits, content)
    complete.sort(key=lambda fit: (not _EVALUATED.search(fit.place), bool(_KEYS.search(fit.place))))
    best, *others = complete
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
    left = [name for name in best.beside if name not in classifier]
    return Foreign(
        state,
        classes,
        arguments,
        cfg,
        "timm",
        best.place,
        tuple(fit.place for fit in others),
        _in_words(left),
    )


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
    return frozenset(_skeleton(architecture).shapes)


def stated_architecture(content: Mapping[str, Any]) -> str:
    """The architecture that a checkpoint itself names, if timm knows it; empty otherwise."""
    arguments = content.get("args")
    for word in (content.get("arch"), content.get("architecture"), getattr(arguments, "model", None)):
        if isinstance(word, str) and knows_architecture(word):
            return word
    return ""


def _by_timm(content: Mapping[str, Any]) -> bool:
    return "arch" in content and "state_dict" in content and hasattr(content.get("args"), "model")


def _branches(content: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every dictionary of tensors in a file, with its place there."""
    if isinstance(content, StandIn) and (state := module_tensors(content)):
        yield place, _unwrapped(state)
        return
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors:
        yield place, _unwrapped(tensors)
    for key, value in content.items():
        if isinstance(key, str) and not isinstance(value, Tensor):
            yield from _branches(value, f"{place}.{key}" if place else key, depth + 1)


def _unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_WRAPPERS.sub("", f".{key}").removeprefix("."): value for key, value in state.items()}


def _fits(place: str, state: Mapping[str, Tensor], expected: _Skeleton) -> Iterator[_Fit]:
    """A fit for each prefix under which a good part of the architecture's names stands; the fullest first."""
    votes: Counter[str] = Counter()
    for key in state:
        parts = key.split(".")
        for at in range(len(parts)):
            if ".".join(parts[at:]) in expected.shapes:
                votes[".".join(parts[:at])] += 1
    fits = []
    for prefix, _ in votes.most_common(12):
        start = f"{prefix}." if prefix else ""
        own = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
        fits.append(_fit(".".join(filter(None, (place, prefix))), own, expected))
    yield from sorted(fits, key=lambda fit: -fit.filled)


def _fit(place: str, own: Mapping[str, Tensor], expected: _Skeleton) -> _Fit:
    fit = _Fit(place, own)
    for name, shape in expected.shapes.items():
        if name not in own:
            if not name.endswith("num_batches_tracked"):
                fit.missing.append(name)
        elif own[name].shape == shape or (name == "pos_embed" and _grid_side(own[name], shape, expected)):
            fit.filled += 1
        else:
            fit.wrong.append(name)
    tops = {name.partition(".")[0] for name in expected.shapes}
    for name in own.keys() - expected.shapes.keys():
        top = name.partition(".")[0]
        classifier = any(name.startswith(f"{part}.") for part in expected.classifiers)
        # What stands among the network's own layers belongs to it: a deeper network holds a shallower one whole.
        harmless = classifier or (top not in tops and _HEADS.fullmatch(top)) or name.endswith("num_batches_tracked")
        (fit.beside if harmless else fit.inside).append(name)
    fit.inside.sort()
    return fit


def _grid_side(found: Tensor, shape: torch.Size, expected: _Skeleton) -> int:
    """Patches along the side of the images that position embeddings were made for; 0 if they are of no square grid."""
    if found.ndim != 3 or len(shape) != 3 or found.shape[-1] != shape[-1]:
        return 0
    patches = found.shape[1] - expected.prefix_tokens
    side = int(max(patches, 0) ** 0.5)
    return side if expected.patch and side * side == patches else 0


def _side(fit: _Fit, expected: _Skeleton) -> int | None:
    """Side in pixels of the images that a ViT was trained on, where it is not the architecture's own."""
    found, shape = fit.own.get("pos_embed"), expected.shapes.get("pos_embed")
    if found is None or shape is None or found.shape == shape or expected.patch is None:
        return None
    return _grid_side(found, shape, expected) * expected.patch


def _classifier(architecture: str, fit: _Fit, expected: _Skeleton) -> tuple[int, Shapes]:
    """Outputs of the architecture's classifier in a file, and the names it adds; 0 where it is not there or other."""
    weights = [fit.own.get(f"{name}.weight") for name in expected.classifiers]
    if not weights or weights[0] is None or weights[0].ndim < 2:
        return 0, {}
    classes = len(weights[0])
    shapes = _skeleton(architecture, classes).shapes
    extra = {name: shape for name, shape in shapes.items() if name not in expected.shapes}
    there = all(name in fit.own and fit.own[name].shape == shape for name, shape in extra.items())
    return (classes, extra) if there and extra else (0, {})


def _skeleton(architecture: str, classes: int = 0) -> _Skeleton:
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
    return _Skeleton(
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


def _misfit(
    path: Path, architecture: str, expected: _Skeleton, fits: list[_Fit], content: Mapping[str, Any]
) -> LowzooError:
    named = stated_architecture(content)
    hint = f"Name its architecture; the file says {named}" if named and named != architecture else ""
    if not fits:
        what = "none of its tensors is there by name"
        return LowzooError(
            f"{path} does not hold a {architecture}: {what}", hint or "Name the architecture of the file"
        )
    best = max(fits, key=lambda fit: (fit.filled, -len(fit.inside)))
    parts = []
    if best.missing:
        parts.append(f"{len(best.missing)} of {len(expected.shapes)} tensors are missing, first {best.missing[0]}")
    if best.wrong:
        name = best.wrong[0]
        found, wanted = _shape(best.own[name].shape), _shape(expected.shapes[name])
        parts.append(
            f"{len(best.wrong)} have another shape, first {name}, which is {found} there and {wanted} expected"
        )
    if best.inside:
        parts.append(f"{len(best.inside)} of the file's are left over, first {best.inside[0]}")
    where = f" below {best.place}" if best.place else ""
    if not hint and (near := _nearest(content, architecture)):
        hint = f"Name its architecture; {near} fits"
    return LowzooError(
        f"{path} does not hold a {architecture}{where}: {'; '.join(parts)}",
        hint or "Name the architecture of the file",
    )


def _nearest(content: Mapping[str, Any], architecture: str) -> str:
    """A common architecture that the file fills, if there is one."""
    branches = list(_branches(content))
    for name in dict.fromkeys([*catalog.students().values(), *_STUDENTS]):
        if name == architecture or not knows_architecture(name):
            continue
        expected = _skeleton(name)
        if any(fit.complete for place, state in branches for fit in _fits(place, state, expected)):
            return name
    return ""


def _in_words(left: list[str]) -> str:
    """`fc (2 tensors), head (8)`; empty for nothing."""
    counts = Counter(name.partition(".")[0] for name in left)
    return ", ".join(f"{name} ({count} tensor{'s' if count > 1 else ''})" for name, count in sorted(counts.items()))


def _shape(shape: torch.Size) -> str:
    return " x ".join(map(str, shape)) or "a number"
