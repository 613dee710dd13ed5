"""What is to be exported, as data, checked at the door."""

import re
from dataclasses import dataclass
from typing import Literal

from lowzoo.base.errors import LowzooError
from lowzoo.export.formats import FORMATS, Format, either
from lowzoo.preprocess.input_facts import Side, both_sides

# From 16 bits on an artifact is judged by its numbers, below by what it is for: the k-NN points that it loses.
EXACT = ("fp32", "fp16")
# The dynamo exporter writes 18 and later; onnxruntime 1.20, the oldest supported, reads up to 21.
OPSETS = range(18, 22)
IOS = ("iOS16", "iOS17", "iOS18")
INPUTS = ("image", "tensor")
LAYOUTS = ("nhwc", "nchw")
_WRITE_INDICES = "Write their indices, such as 2,3,4, or last, or all"

Features = tuple[int, ...] | Literal["last", "all"]
"""Feature maps of a network: their indices, as timm's `out_indices`, or a word."""


def parse_features(text: str) -> Features:
    """Read `2,3,4`, `last` or `all`.

    Raises:
        LowzooError: Something else.
    """
    words: dict[str, Features] = {"last": "last", "all": "all"}
    if text in words:
        return words[text]
    if not re.fullmatch(r"-?\d+(\s*,\s*-?\d+)*", text.strip(), re.ASCII):
        raise LowzooError(
            f"feature maps {text!r} are impossible", "Write their indices, such as 2,3,4, or last, or all"
        )
    return tuple(int(part) for part in text.split(","))


def parse_batch(text: str, option: str) -> int | Literal["dynamic"]:
    """Read a number of images, or `dynamic`.

    Raises:
        LowzooError: Something else.
    """
    if text == "dynamic":
        return "dynamic"
    if not text.isdecimal():
        raise LowzooError(f"a batch of {text!r} is impossible", "Use a number, or dynamic")
    return int(text)


@dataclass(frozen=True)
class MaxLoss:
    """How much worse than PyTorch a lossy artifact may be.

    Args:
        knn_points: Leave-one-out k-NN accuracy lost, in points; None for no bound.
        cosine: Mean cosine kept, at least; None for no bound.
    """

    knn_points: float | None = 1.0
    cosine: float | None = None

    @classmethod
    def parse(cls, text: str) -> "MaxLoss":
        """Read `1.0` (k-NN points) or `cosine:0.99`.

        Raises:
            LowzooError: Neither of them, points below 0 or above 100, or a cosine outside 0 to 1.
        """
        found = re.fullmatch(r"(cosine:)?(\d+(?:\.\d+)?)", text)
        value = float(found[2]) if found else -1.0
        if not found or value > (1 if found[1] else 100):
            raise LowzooError(f"a loss of {text!r} is impossible", "Use k-NN points such as 1.0, or cosine:0.99")
        return cls(None, value) if found[1] else cls(value)

    def __str__(self) -> str:
        """What `parse` reads; a bound on both is the cosine's."""
        return f"{self.knn_points:g}" if self.cosine is None else f"cosine:{self.cosine:g}"


@dataclass(frozen=True)
class ExportSpec:
    """One artifact.

    Args:
        format: A name of `lowzoo.export.formats.FORMATS`.
        precision: One of the format's. "int8" is of weights alone in Core ML, else of activations too, by
            ranges that calibration found; "int8-dynamic" finds them in every run; "palette6" and "palette4" keep 64 and
            16 different weights a tensor.
        size: Side of the input in pixels, or (height, width); the weights' own if None.
        batch: Images in a run, or "dynamic". A dynamic batch leaves phone accelerators next to nothing to run.
        input: "image" is RGB in [0, 255], normalised in the graph; "tensor" is float32 (B, C, H, W), normalised by the
            caller.
        layout: Layout of an image that is bytes: "nhwc" is uint8 (B, H, W, C), "nchw" uint8 (B, C, H, W). Core ML has
            images of its own.
        opset: ONNX operator set. 20 writes GELU as one node: a tenth fewer nodes of a ViT than 18, and onnxruntime's
            mobile checker finds the same number of partitions (CoreML ML program 1, NNAPI 38).
        target: Rewrite what this accelerator cannot take: "nnapi", "coreml-ep" or "cpu"; "coreml" hands an ExecuTorch
            program to Core ML instead of XNNPACK.
        deployment_target: Oldest system that a Core ML file, or what ExecuTorch hands to Core ML, runs on.
        calibration: Images (SRC) that int8 activations are calibrated on; the sample set if None.
        max_loss: What a precision below 16 bits may lose.
        classes: Names of the classes when the network ends in a classifier, else empty.
        features: Give these feature maps (B, C, H, W), an output each, instead of features (B, D); see
            `lowzoo.export.network.features`.

    Raises:
        LowzooError: Something that cannot be had.
    """

    format: str = "onnx"
    precision: str = "fp32"
    size: Side | None = None
    batch: int | Literal["dynamic"] = 1
    input: str = "image"
    opset: int = 20
    layout: str = "nhwc"
    target: str = "cpu"
    deployment_target: str = "iOS16"
    calibration: str | None = None
    max_loss: MaxLoss = MaxLoss()
    classes: tuple[str, ...] = ()
    features: Features | None = None

    def __post_init__(self) -> None:
        kind = self.kind
        if self.precision not in kind.precisions:
            raise LowzooError(
                f"{self.format} cannot be exported in precision {self.precision!r}",
                f"Use {either(kind.precisions)}",
            )
        _one_of("input", self.input, INPUTS)
        _one_of("layout", self.layout, LAYOUTS)
        _one_of("deployment target", self.deployment_target, IOS)
        if self.target not in kind.all_targets():
            for other in FORMATS.specs():
                if self.target in other.targets:
                    raise LowzooError(
                        f"--for {self.target} is of {other.title}'s programs, and this is {self.format}",
                        other.targets[self.target],
                    )
            _one_of("target", self.target, kind.all_targets())
        if self.batch != "dynamic" and (not isinstance(self.batch, int) or not 1 <= self.batch <= 1024):
            raise LowzooError(f"a batch of {self.batch!r} is impossible", "Use a number from 1 to 1024, or dynamic")
        if not kind.dynamic_batch and self.batch == "dynamic":
            raise LowzooError(f"{self.format} is exported with a fixed batch", "Use a number, such as 1")
        kind.call("rule", self)
        if self.size is not None:
            both_sides(self.size)
        if self.features is not None and self.classes:
            raise LowzooError(
                "feature maps and a classifier do not go into one file", "Give --features, or --head, and not both"
            )
        if self.features == ():
            raise LowzooError("no feature map is named", _WRITE_INDICES)
        if self.opset not in OPSETS:
            raise LowzooError(f"opset {self.opset} cannot be written", f"Use {OPSETS[0]} to {OPSETS[-1]}")

    @property
    def kind(self) -> Format:
        """The format's declaration."""
        return FORMATS[self.format]

    @property
    def input_name(self) -> str:
        """Name of the graph's input: "image" for pixels, "input" for a tensor."""
        return "image" if self.input == "image" else "input"

    @property
    def output_name(self) -> str:
        """Name of the graph's output, feature maps apart; Core ML's classifiers give probabilities beside the label."""
        if not self.classes:
            return "features"
        return "probabilities" if self.kind.gives_probabilities else "logits"

    @property
    def pixels_last(self) -> bool:
        """Whether the input is (B, H, W, C) and not (B, C, H, W)."""
        return self.input == "image" and self.layout == "nhwc" and self.kind.image_is_bytes

    @property
    def core_ml_delegate(self) -> bool:
        """Whether ExecuTorch hands the network to Core ML and not to XNNPACK."""
        return self.target == "coreml"  # which no other format has

    @property
    def lossy(self) -> bool:
        """Whether the precision is below 16 bits."""
        return self.precision not in EXACT


def _one_of(what: str, word: str, words: tuple[str, ...]) -> None:
    if word not in words:
        raise LowzooError(f"unknown {what} {word!r}", f"Use {either(words)}")
