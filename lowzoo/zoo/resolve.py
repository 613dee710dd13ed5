"""The one way from the word MODEL on a command line to a network: `load_model`.

The word is a name of the zoo, a repository of the Hub, a folder in timm's local-dir format (a run folder is one), any
timm name, or a checkpoint with the name of its architecture.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lowzoo import catalog
from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.notes import say_once
from lowzoo.io.files import plain_path
from lowzoo.preprocess.input_facts import Side, both_sides, input_facts, size_text
from lowzoo.preprocess.sizes import check_takes, nearest_sizes, patch_sides
from lowzoo.zoo.architectures.official_positions import at_size
from lowzoo.zoo.find import FOLDER_SCHEME, HUB_SCHEME, Found, find

if TYPE_CHECKING:
    from lowzoo.preprocess.picture_transform import Transform
    from lowzoo.zoo.compatible import CompatibleFacts

# What timm and torchvision call a classifier.
_HEADS = ("head", "fc", "classifier")


@dataclass(frozen=True)
class FeatureMap:
    """A map that a network gives, see `lowzoo.export.network.features`.

    Args:
        name: Name of the output, such as "stride8", or "stride16_block11" where others have the same stride.
        index: Index of the map among those of the network, as timm counts them.
        stride: Pixels of the input from one position to the next.
        channels: C.
        height: Height of the map, at the input's size.
        width: Width of the map, at the input's size.
    """

    name: str
    index: int
    stride: int
    channels: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width


@dataclass(frozen=True)
class Resolved:
    """A network that is ready for evaluation, and what one must know to feed it; its facts and its `transform`.

    Args:
        model: In eval mode and headless: (B, C, H, W) normalised to (B, D) features, float32.
        name: What the word meant, with the tag of the weights if there are any.
        revision: Which weights exactly: digest of the file, commit of the Hub, timm's version, or the random seed.
        input_size: (C, H, W).
        mean: Mean of the normalisation, in [0, 1].
        std: Standard deviation of the normalisation, in [0, 1].
        interpolation: Filter of the resize.
        crop_pct: Side of the centre crop by the side after resizing.
        license: SPDX identifier of the weights, empty if not known or if there are none.
        recipe: How the zoo trained them, empty for any other weights.
        trained: False for a random initialisation.
        crop_mode: How a picture of other proportions is made to fit, see `lowzoo.preprocess.input_facts`.
        source: A word for `load_model` that means these weights from anywhere on this computer; empty if there is none.
        classes: Number of classes of the classifier that the weights come with; 0 for none.
        class_names: Their names, where the weights come with them.
        headless: Whether the network was built without that classifier.
        head: What stands behind the network: "own" for its classifier, the path of a classifier's file, "compatible"
            for the map into another model's space, or empty for nothing.
        features: The maps that the network gives as a tuple, instead of (B, D); empty for the usual features.
        compatible: Of a network that ends in such a map: in whose space its embeddings lie.
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
    crop_mode: str = "center"
    source: str = ""
    classes: int = 0
    class_names: tuple[str, ...] = ()
    headless: bool = True
    head: str = ""
    features: tuple[FeatureMap, ...] = ()
    compatible: "CompatibleFacts | None" = None

    @property
    def transform(self) -> "Transform":
        """From a picture (PIL, array, tensor, or path of a file) to the network's input (C, H, W), as evaluation does.

        It can be handed to data workers, and as `transform` to torchvision's data sets.
        """
        from lowzoo.preprocess.picture_transform import Transform

        return Transform.of(self)

    def lines(self) -> Iterator[str]:
        """What it is, for people."""
        yield f"{self.name} ({self.revision})"
        parameters = sum(each.numel() for each in self.model.parameters())
        yield f"{parameters / 1e6:.2f} M parameters, input {self.input_size[0]} x {size_text(self.input_size[1:])} px"
        yield f"mean {self.mean}, std {self.std}, {self.interpolation}, crop {self.crop_pct:g} ({self.crop_mode})"
        facts = (("recipe", self.recipe), ("licence", self.license), ("classes", self.classes))
        if said := [f"{what} {value}" for what, value in facts if value]:
            yield ", ".join(said)

    def _repr_html_(self) -> str:
        from lowzoo.base import html

        return html.block(self.lines())


def load_model(
    model_spec: str, *, image_size: Side | None = None, pretrained: bool = True, seed: int = 0, classes: bool = False
) -> Resolved:
    """Find, build and load the model that a word means.

    Args:
        model_spec: `rob_vit_tiny` (also `lowzoo/...`, also with `.tag`), `hf-hub:ORG/NAME[/FOLDER][@REVISION]`, a
            folder with `config.json` and `model.safetensors`, a timm name, or `ARCH@FILE[#BRANCH]` for anybody's
            checkpoint.
        image_size: Side in pixels of a square input, or (height, width); the weights' own if None.
        pretrained: Load the weights; otherwise the network is random.
        seed: Random seed of the initialisation.
        classes: Leave the classifier that the weights come with, if any; the network then gives logits.

    Raises:
        LowzooError: Unknown word, weights that cannot be had, an impossible image size, or a configuration of the
            input that cannot be followed.
    """
    found = find(model_spec, pretrained=pretrained)
    arguments = {**found.arguments} if classes else {**found.arguments, "num_classes": 0}
    if found.explicit_cfg:
        arguments["pretrained_cfg"] = found.cfg
    if image_size is not None:
        image_size = both_sides(image_size)
        if found.cfg.get("fixed_input_size"):
            arguments["img_size"] = image_size
    channels = found.arguments.get("in_chans")
    # Refused before the weights are loaded, and read again from what timm made of it.
    input_facts(found.cfg, found.name, size=image_size, channels=channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = _built(found, arguments, image_size, pretrained=pretrained)
    if image_size is not None:
        check_patches(model, image_size)
        check_takes(model, image_size, found.name, model.pretrained_cfg["input_size"][0])
    cfg = model.pretrained_cfg
    cfg.pop("state_dict", None)
    facts = input_facts(cfg, found.name, size=image_size, channels=channels)
    own_classes = int(found.cfg.get("num_classes") or 0) if pretrained else 0
    names = tuple(str(name) for name in found.cfg.get("label_names") or ())
    return Resolved(
        model=model.eval(),
        name=found.name,
        revision=found.revision if pretrained else f"random initialisation, seed {seed}",
        input_size=facts.input_size,
        mean=facts.mean,
        std=facts.std,
        interpolation=facts.interpolation,
        crop_pct=facts.crop_pct,
        license=(found.license or cfg.get("license") or "") if pretrained else "",
        recipe=found.recipe if pretrained else "",
        trained=pretrained,
        crop_mode=facts.crop_mode,
        source=_source(found),
        classes=own_classes,
        class_names=names if len(names) == own_classes else (),
        headless=not classes,
        head="own" if classes and own_classes else "",
    )


def built_by_timm(model_spec: str, **arguments: Any) -> nn.Module:
    """Create the network of a folder, a checkpoint or a repository with its weights, as `timm.create_model` would.

    Args:
        model_spec: See `load_model`.
        **arguments: Everything `timm.create_model` takes.

    Raises:
        LowzooError: As `load_model`; or the file does not fill the network that is asked for.
    """
    found = find(model_spec, pretrained=True)
    cfg = {"pretrained_cfg": found.cfg} if found.explicit_cfg else {}
    heads = {"num_classes": 0} if "num_classes" not in {**found.cfg, **found.arguments} else {}
    wanted = {**heads, **found.arguments, **cfg, **arguments}
    return _built(found, wanted, arguments.get("img_size"), pretrained=True, fresh_head="num_classes" in arguments)


def _built(
    found: Found,
    arguments: dict[str, Any],
    image_size: Side | None,
    *,
    pretrained: bool,
    fresh_head: bool = False,
) -> nn.Module:
    with _explained(found, image_size), _timm_silent():
        state = found.state
        if pretrained and found.file is not None and found.positions != "timm" and "img_size" in arguments:
            state = at_size(
                state or load_file(plain_path(found.file)), both_sides(arguments["img_size"]), found.positions
            )
        if pretrained and state is not None:
            # A copy: timm takes out of it what it does not want.
            arguments = arguments | {"pretrained_cfg": found.cfg | {"state_dict": dict(state)}}
        model: nn.Module = timm.create_model(found.architecture, pretrained=pretrained, **arguments)
    if pretrained and found.file is not None and not arguments.get("features_only"):
        _check_complete(model, found.file, found.state, fresh_head=fresh_head)
        if not found.source:  # of a checkpoint `find` has said what was left out
            _say_what_is_left_out(model, found.file, found.state, found.cfg)
    return model


def _source(found: Found) -> str:
    """A word that means the same weights later: of a folder or a checkpoint its place, of the Hub a commit."""
    if found.source:
        return found.source
    if found.name.startswith(HUB_SCHEME):
        return f"{found.name}@{found.revision}"
    if found.file is not None:
        return f"{FOLDER_SCHEME}{found.file.parent.resolve()}"
    return f"{catalog.PREFIX}{found.name}" if found.name.partition(".")[0] in catalog.models() else found.name


@contextlib.contextmanager
def _timm_silent() -> Iterator[None]:
    """Keep timm's notes on the keys of a file off the console: what matters of them is said here, in plain words."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _explained(found: Found, image_size: Side | None) -> Iterator[None]:
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
                f"{found.name} cannot be built or loaded at {size_text(image_size)} px ({reason})", "Name another size"
            ) from error
        raise LowzooError(
            f"the weights of {found.name} cannot be had ({reason})",
            "Run once with a network to fill the cache, or name a model whose weights are bundled (`lowzoo list`)",
        ) from error


def _check_complete(model: nn.Module, file: Path, state: dict[str, Tensor] | None, *, fresh_head: bool = False) -> None:
    """Refuse a file that left parameters random: with another number of classes timm loads leniently.

    A classifier that the caller asked for, and trains himself, is no such parameter.
    """
    missing = sorted(set(model.state_dict()) - _names_in(file, state))
    if fresh_head:
        missing = [key for key in missing if not key.startswith(tuple(f"{head}." for head in _HEADS))]
    if missing:
        raise LowzooError(f"{file} lacks {len(missing)} tensors, e.g. {missing[0]}", "Write the folder again")


def _names_in(file: Path, state: dict[str, Tensor] | None) -> set[str]:
    """Names of the tensors in a file of weights, which has been read already or is safetensors."""
    if state is not None:
        return set(state)
    from safetensors import safe_open

    with safe_open(plain_path(file), framework="numpy") as tensors:
        return set(tensors.keys())


def _say_what_is_left_out(
    model: nn.Module, file: Path, state: dict[str, Tensor] | None, cfg: Mapping[str, Any]
) -> None:
    """Name tensors of a file that the network has no place for; its classifier alone is left out on purpose."""
    named = cfg.get("classifier") or ()
    heads = (named,) if isinstance(named, str) else tuple(named)
    extra = sorted(_names_in(file, state) - set(model.state_dict()))
    extra = [key for key in extra if not key.startswith(tuple(f"{head}." for head in (*heads, *_HEADS)))]
    if extra:
        say_once(
            f"{file} holds {len(extra)} tensors that the network has no place for, e.g. {extra[0]}; they are left out"
        )


def check_patches(model: nn.Module, image_size: Side) -> None:
    """Refuse a size whose border would be cut off: patches are taken from the upper left corner on.

    Args:
        model: Any network; one without patches takes every size.
        image_size: Side in pixels, or (height, width).

    Raises:
        LowzooError: A side is no multiple of the side of a patch.
    """
    for side, step in zip(both_sides(image_size), patch_sides(model), strict=True):
        if side % step:
            sizes = " or ".join(str(size) for size in sorted(nearest_sizes(side, step)))
            raise LowzooError(f"{side} px is no multiple of the patch size of {step} px", f"Take {sizes} px")
