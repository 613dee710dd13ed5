"""The settings of a detector's training, and where they come from: a preset, options, `--set`."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from lowzoo.base.errors import LowzooError, first_misfit, near_matches
from lowzoo.detection.network.shape import DetectorShape
from lowzoo.detection.sets.annotated import AnnotatedSet
from lowzoo.detection.sets.batches import fitted

OWN = "own"
PRESETS = ("sslight_fpn_1x", "sslight_fpn_2x", "sslight_c4", "sslight_voc_fpn", "seed_fpn", OWN)
LENGTHS = ("steps", "minutes", "epochs")
_BASE_BATCH = 16
_LARGEST, _SMALLEST, _MULTIPLE = 512, 64, 32
# Patches a side that a ViT sees of one's own images at least. Of images of 128 px in patches of 16, 8 a side found 40 %
# of boxes (AP50) in 20 minutes of a core, 12 found 58 in 25, and 16, of which that time allows fewer steps, 50.
_LEAST_PATCHES = 12
# Sides of the finest anchors that a set may get, in pixels.
_FINEST = (8, 12, 16, 24, 32, 48, 64)
_SMALLER, _LEAST_STRIDES = 0.25, 2


class DetectConfig(BaseModel):
    """How a detector is trained.

    Args:
        preset: Name of the preset.
        summary: The preset in a sentence.
        source: Publication or code that the preset's values come from.
        masks: Whether the detector gives masks.
        network: Layers of the detector.
        steps: Length of the run in steps; 0 where another length is given.
        minutes: Length of the run in minutes, loading and score included; 0 where another length is given.
        epochs: Length of the run in passes over the training images; 0 where another length is given.
        batch_size: Images of a step, over all processes.
        accumulate: Parts that a step's images go through the network in.
        optimizer: SGD with momentum, or AdamW.
        learning_rate: Peak rate for `rate_batch` images; it grows with the batch.
        rate_batch: Images of a step that `learning_rate` is meant for.
        momentum: Momentum of SGD; AdamW does not use it.
        weight_decay: Weight decay of convolutions and linear layers.
        norm_decay: Weight decay of the scales and shifts of norms.
        bias_decay: Whether biases have the decay of weights, as in detectron2; else they have none.
        clip: Largest norm of all gradients; 0 for any.
        schedule: "steps", the rate is multiplied by `gamma` at each milestone; or "cosine", it falls to 0.
        milestones: Steps, of a run of the preset's `steps`; they move along with another length.
        gamma: Factor of the learning rate at a milestone.
        warmup: Steps of such a run, or below 1 a fraction of the run, over which the rate rises to its peak.
        warmup_start: Learning rate at the start of the warm-up, as a fraction of the peak.
        train_sizes: Shorter sides in pixels that are drawn from; of the data if empty.
        test_size: Shorter side in testing; of the data if 0.
        longest: Most pixels of the other side; of the data if 0.
        flip: Mirror images at random.
        scale_jitter: Least and largest factor of an image's size, drawn at random; of a larger one a part is cut out,
            unless no object would be left in it.
        color_jitter: How far brightness, contrast and saturation may be from 1, at random; hue by an eighth of it.
        empty_images: Whether images without an object are trained on.
        sync_bn: Batch norms over all processes.
        precise_bn: Steps after the last one over which the statistics of batch norms are measured again.
        precision: Number format that the network runs in.
        seed: Random seed.
        checkpoint_steps: Steps between checkpoints.
        max_bad_share: Fraction of the images seen that may be unreadable.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str = OWN
    summary: str = ""
    source: str = ""
    masks: bool = False
    network: DetectorShape = Field(default_factory=DetectorShape)
    steps: int = Field(0, ge=0)
    minutes: float = Field(0, ge=0)
    epochs: int = Field(0, ge=0)
    batch_size: int = Field(16, ge=1)
    accumulate: int = Field(1, ge=1)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = Field(0.02, gt=0)
    rate_batch: int = Field(_BASE_BATCH, ge=1)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(1e-4, ge=0)
    norm_decay: float = Field(0.0, ge=0)
    bias_decay: bool = True
    clip: float = Field(0.0, ge=0)
    schedule: Literal["steps", "cosine"] = "steps"
    milestones: tuple[float, ...] = ()
    gamma: float = Field(0.1, gt=0)
    warmup: float = Field(0.0, ge=0)
    warmup_start: float = Field(0.001, ge=0, le=1)
    train_sizes: tuple[int, ...] = ()
    test_size: int = Field(0, ge=0)
    longest: int = Field(0, ge=0)
    flip: bool = True
    scale_jitter: tuple[float, float] = (1.0, 1.0)
    color_jitter: float = Field(0.0, ge=0, lt=1)
    empty_images: bool = False
    sync_bn: bool = True
    precise_bn: int = Field(0, ge=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = Field(0, ge=0)
    checkpoint_steps: int = Field(500, ge=1)
    max_bad_share: float = Field(0.01, ge=0, le=1)

    @model_validator(mode="after")
    def _has_one_length(self) -> "DetectConfig":
        given = [name for name in LENGTHS if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"the run has {'the lengths ' + ' and '.join(given) if given else 'no length'}")
        if any(not 0 < each < 1 for each in self.milestones) or self.warmup >= 1:
            raise ValueError("milestones and warm-up are steps of a run of that many, or fractions of it")
        if any(not 32 <= side <= 4096 for side in (*self.train_sizes, *filter(None, (self.test_size,)))):
            raise ValueError("images have sides of 32 to 4096 pixels")
        if not 0.1 <= self.scale_jitter[0] <= self.scale_jitter[1] <= 4:
            raise ValueError("the scales of images are two rising numbers from 0.1 to 4")
        return self

    def rates(self, progress: NDArray[np.float64]) -> NDArray[np.float64]:
        """The learning rate at each progress in [0, 1)."""
        peak = self.learning_rate * self.batch_size / self.rate_batch
        factor = np.ones_like(progress)
        if self.schedule == "cosine":
            factor = (1 + np.cos(np.pi * progress)) / 2
        for milestone in self.milestones:
            factor = np.where(progress >= milestone, factor * self.gamma, factor)
        if self.warmup:
            rising = self.warmup_start + (1 - self.warmup_start) * progress / self.warmup
            factor = np.where(progress < self.warmup, factor * rising, factor)
        return peak * factor


def kind_of(network: nn.Module) -> str:
    """What a preset may have settings of its own for: "vit", "mobilenet", or "" for any other network."""
    if isinstance(network, VisionTransformer):
        return "vit"
    return "mobilenet" if isinstance(network, EfficientNet | MobileNetV3) else ""


def preset_fields(name: str, kind: str) -> dict[str, Any]:
    """The fields of a preset for a kind of network, laid over those that it extends.

    Raises:
        LowzooError: No such preset.
    """
    if name not in PRESETS and name != "detectron2":
        raise LowzooError(
            f"unknown preset {name!r}{near_matches(name, PRESETS)}", f"Choose one of {', '.join(PRESETS)}"
        )
    layers: list[dict[str, Any]] = []
    word: str | None = name
    while word is not None:
        text = (files("lowzoo.train.detection") / "presets" / f"{word}.toml").read_text(encoding="utf-8")
        layers.insert(0, tomllib.loads(text))
        word = layers[0].pop("extends", None)
    fields: dict[str, Any] = {}
    for layer in layers:
        own = layer.pop("when", {}).get(kind, {})
        fields = _laid(_laid(fields, layer), own)
    return {**fields, "preset": name}


def resolve(
    preset: str | None,
    network: nn.Module,
    data: AnnotatedSet,
    *,
    masks: bool,
    options: Mapping[str, Any],
    settings: Sequence[str] = (),
) -> DetectConfig:
    """The settings that a command means.

    Args:
        preset: Its name; None for those that follow from the data.
        network: The backbone.
        data: The training images.
        masks: Whether the detector gives masks.
        options: Fields that were named, None where absent; "image_size" is the shorter side in training and testing.
        settings: `key=value` words over all that; a dot descends.

    Raises:
        LowzooError: No such preset, an unknown key, or an impossible value.
    """
    fields = preset_fields(preset or OWN, kind_of(network))
    given = {key: value for key, value in options.items() if value is not None}
    size = given.pop("image_size", None)
    given = _typed(given)
    for setting in settings:
        given = _laid(given, _typed(_parsed(setting)))
    if named := [key for key in LENGTHS if given.get(key)]:
        if len(named) > 1:
            raise LowzooError(
                f"--{named[0]} and --{named[1]} both give the length of the run", f"Leave out --{named[1]}"
            )
        fields = {key: value for key, value in _as_fractions(fields).items() if key not in LENGTHS}
    fields = _as_fractions(_laid(_as_fractions(fields), given))
    fields["masks"] = masks
    if size is not None:
        # Other sizes are scaled with the one in testing.
        drawn, tested = fields.get("train_sizes") or [size], fields.get("test_size") or size
        fields["train_sizes"] = sorted({max(32, round(each * size / tested)) for each in drawn})
        fields["longest"] = round((fields.get("longest") or 2 * tested) * size / tested)
        fields["test_size"] = size
    return _validated(_of_data(fields, data, given, _patch(network)))


def _typed(given: Mapping[str, Any], schema: type[BaseModel] = DetectConfig, where: str = "") -> dict[str, Any]:
    """Settings as the values that their types make of them, so that what follows may reckon with them.

    Raises:
        LowzooError: An unknown setting, or a value of another type or beyond its bounds.
    """
    found: dict[str, Any] = {}
    for key, value in given.items():
        field, name = schema.model_fields.get(key), f"{where}{key}"
        if field is None:
            raise _unknown(name)
        if field.annotation is DetectorShape:
            if not isinstance(value, Mapping):
                raise LowzooError(
                    f"{name} = {value!r} is impossible: it is a group of settings",
                    f"Set one of {', '.join(f'{name}.{each}' for each in DetectorShape.model_fields)}",
                )
            found[key] = _typed(value, DetectorShape, f"{name}.")
            continue
        try:
            kind: Any = Annotated[field.annotation, Field(), *field.metadata]
            found[key] = TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            raise _impossible(name, value, error) from None
    return found


def _unknown(key: str) -> LowzooError:
    names = [*DetectConfig.model_fields, *(f"network.{each}" for each in DetectorShape.model_fields)]
    group, _, own = key.rpartition(".")
    near = near_matches(own, DetectorShape.model_fields if group == "network" else DetectConfig.model_fields)
    names.remove("network")
    return LowzooError(f"unknown setting {key!r}{near}", f"Set one of {', '.join(names)}")


def _impossible(key: str, value: Any, error: ValidationError) -> LowzooError:
    inner, reason = first_misfit(error)
    reason = reason.replace("valid tuple", "list").replace("a valid integer", "an integer").replace("a valid ", "a ")
    place = f", entry {inner}" if inner else ""
    return LowzooError(
        f"{key} = {value!r} is impossible{place}: {reason[:1].lower()}{reason[1:]}",
        f"Give {key} another value by --set {key}=VALUE, or leave it out",
    )


def _patch(network: nn.Module) -> int:
    """Side of a ViT's patches in pixels; 0 of any other network."""
    return int(network.patch_embed.patch_size[0]) if isinstance(network, VisionTransformer) else 0


def _of_data(fields: dict[str, Any], data: AnnotatedSet, given: Mapping[str, Any], patch: int) -> dict[str, Any]:
    """With sizes of images and anchors for one's own data, where nothing names them."""
    if fields["preset"] != OWN:
        return fields
    fields = {**fields, "network": dict(fields["network"])}
    if not fields.get("test_size"):
        median = float(np.median([min(each.height, each.width) for each in data.images]))
        side = int(np.clip(round(median / _MULTIPLE) * _MULTIPLE, _SMALLEST, _LARGEST))
        side = max(side, math.ceil(_LEAST_PATCHES * patch / _MULTIPLE) * _MULTIPLE)
        fields.update(test_size=side, train_sizes=fields.get("train_sizes") or [side])
    if not fields.get("train_sizes"):
        fields["train_sizes"] = [fields["test_size"]]
    if not fields.get("longest"):
        fields["longest"] = 2 * fields["test_size"]
    network = given.get("network", {})
    if "anchor_sizes" not in network:
        finest = _finest_anchor(data, fields["test_size"], fields["longest"], fields["network"]["strides"][0])
        levels = range(len(fields["network"]["strides"]) + 1)
        fields["network"]["anchor_sizes"] = [[finest * 2**level] for level in levels]
        if "canonical_size" not in network:
            # Objects of the size of a level's anchors are read off this level.
            at_16 = finest * 16 / fields["network"]["strides"][0]
            fields["network"]["canonical_size"] = max(1, round(at_16 / 2**0.5))
    return fields


def _finest_anchor(data: AnnotatedSet, shorter: int, longest: int, stride: int) -> int:
    """The side of the anchors on the finest map: that of the smaller quarter of the objects.

    Smaller ones would leave most objects to maps that are too coarse to place their boxes: with 12 px on a map of
    stride 8, objects of 50 px fall to stride 32.
    """
    sides: list[float] = []
    for each in data.images:
        height, _ = fitted(each.height, each.width, shorter, longest)
        boxes = each.boxes[each.objects] * (height / each.height)
        sides += np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).tolist()
    wanted = max(_LEAST_STRIDES * stride, float(np.quantile(sides, _SMALLER)))
    return min(_FINEST, key=lambda side: abs(np.log2(side / wanted)))


def _as_fractions(fields: dict[str, Any]) -> dict[str, Any]:
    """Milestones and warm-up as fractions of the run, so that they move along with another length."""
    steps = fields.get("steps")
    if not steps:
        return fields
    found = dict(fields)
    found["milestones"] = [each / steps if each >= 1 else each for each in fields.get("milestones", ())]
    if fields.get("warmup", 0) >= 1:
        found["warmup"] = fields["warmup"] / steps
    return found


def _validated(fields: Mapping[str, Any]) -> DetectConfig:
    try:
        return DetectConfig.model_validate(fields)
    except ValidationError as error:
        key, reason = first_misfit(error)
        where = f"{key} = {error.errors()[0]['input']!r} is impossible" if key not in ("", "network") else key
        where = where or "the settings are impossible"
        where = "the layers of network are impossible" if where == "network" else where
        raise LowzooError(
            f"{where}: {reason[:1].lower()}{reason[1:]}", "Change the settings that it names, by --set or by options"
        ) from None


def _parsed(setting: str) -> dict[str, Any]:
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise LowzooError(f"--set {setting} sets nothing", "Write --set KEY=VALUE")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    return dict(value)


def _laid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = _laid(found[key], value) if both else value
    return found
