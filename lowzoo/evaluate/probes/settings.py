"""The settings of linear probes, by paper, as data.

Sources: RoB's from `facebookresearch/vissl` at 04788de9 (benchmark/linear_image_classification), SEED's from
`jacobswan1/SEED` (main_lincls.py), SSLight's from `saic-fi/SSLight` (classification/config), DINO's from
`facebookresearch/dino` (eval_linear.py), MSN's from `facebookresearch/msn` (linear_eval.py and its configuration).
Learning rates are those of the stated batch, after the papers' scaling rules.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.features.feature_kinds import is_vit

Augmentation = Literal["none", "flip", "crop"]
"""What training images get: nothing (features are computed once), the evaluation's picture perhaps mirrored, or a
random resized crop perhaps mirrored."""


_OF_TRAINING = {
    *("learning_rates", "epochs", "batch_size", "milestones", "final_rate", "per_step", "nesterov"),
    *("decay_all", "init_std"),
}


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """How probes are trained; several learning rates, weight decays or features are candidates of a sweep.

    Args:
        features: Kinds of features, see `feature_kinds`.
        learning_rates: Peaks, for batches of `batch_size`.
        weight_decays: On weights, and where `decay_all` on biases and norms too.
        epochs: Passes over the training images.
        batch_size: Images in a step.
        milestones: Epochs after which the rate falls by 10; none is a cosine.
        final_rate: Where the cosine ends.
        per_step: The cosine moves at every step, not at every epoch.
        optimizer: `lars` scales the step of each weight matrix by its norm (trust 0.001); `lbfgs` solves for the
            minimum, which no rate, epoch, batch or seed has a say in.
        nesterov: Momentum, always 0.9, looks ahead.
        decay_all: Weight decay on biases and norms too.
        norm: Before the linear layer: nothing; batch norm, with a gain and a shift or as bare standardisation; or
            layer norm followed by the projection to unit length.
        init_std: Standard deviation of the linear layer's weights; biases start at 0.
        augmentation: Augmentation of the training images.
        squash: Resize both sides of pictures that are not randomly cropped, and crop nothing off.
        note: What differs from the publication.
    """

    features: tuple[str, ...] = ("own",)
    learning_rates: tuple[float, ...] = (0.01,)
    weight_decays: tuple[float, ...] = (0.0,)
    epochs: int = 100
    batch_size: int = 256
    milestones: tuple[float, ...] = ()
    final_rate: float = 0.0
    per_step: bool = False
    optimizer: Literal["sgd", "lars", "lbfgs"] = "sgd"
    nesterov: bool = False
    decay_all: bool = True
    norm: Literal["none", "batch", "standardise", "layer_unit"] = "none"
    init_std: float = 0.01
    augmentation: Augmentation = "crop"
    squash: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if self.optimizer == "lbfgs" and (self.norm != "standardise" or self.augmentation != "none"):
            raise ValueError("probes are solved on standardised features without augmentation")

    def facts(self) -> dict[str, Any]:
        """What decides the figures, for a result."""
        settings = dataclasses.asdict(self)
        return {key: settings[key] for key in settings if self.optimizer != "lbfgs" or key not in _OF_TRAINING}

    def rate_factor(self, progress: float) -> tuple[float, float]:
        """Factor and addend of the peak rate at `progress` epochs."""
        if self.milestones:
            return 0.1 ** sum(progress >= milestone for milestone in self.milestones), 0.0
        at = progress if self.per_step else math.floor(progress)
        cosine = (1 + math.cos(math.pi * at / self.epochs)) / 2
        return cosine, self.final_rate * (1 - cosine)


_ROB = ProbeSettings(
    learning_rates=(0.01,),
    weight_decays=(5e-4,),
    epochs=28,
    batch_size=256,
    milestones=(8, 16, 24),
    nesterov=True,
    norm="batch",
)
_ROB_MOBILE = dataclasses.replace(
    _ROB,
    features=("pooled", "pool2x1", "pool2x2"),
    learning_rates=(0.08,),
    weight_decays=(5e-4, 1e-4, 0.0),
    epochs=40,
    batch_size=2048,
    milestones=(12, 24, 36),
)
_SEED = ProbeSettings(
    learning_rates=(30.0,),
    epochs=100,
    milestones=(60, 80),
    note="the publication keeps the epoch that is best on the test images; here it is the last one",
)
_SSLIGHT = ProbeSettings(learning_rates=(0.8,), batch_size=4096, optimizer="lars", final_rate=1e-6)

# By paper, then by family of architectures; "cnn" stands for every family that is not named.
PROBES: dict[str, dict[str, ProbeSettings]] = {
    "sweep": {
        "vit": ProbeSettings(
            features=("cls", "cls4", "pooled"),
            learning_rates=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
            weight_decays=(1e-5, 1e-4, 1e-3, 1e-2),
            epochs=100,
            batch_size=1024,
            per_step=True,
            optimizer="lbfgs",
            nesterov=True,
            decay_all=False,
            norm="standardise",
            augmentation="none",
        ),
    },
    "rob": {
        "vit": dataclasses.replace(_ROB, features=("cls", "cls4")),
        "mobilenetv3": _ROB_MOBILE,
        "cnn": dataclasses.replace(_ROB, features=("pooled", "pool2x1")),
    },
    "seed": {
        "resnet": _SEED,
        "cnn": dataclasses.replace(
            _SEED,
            learning_rates=(3.0, 10.0, 30.0),
            note=_SEED.note + "; the rate for this architecture was not published and is swept",
        ),
    },
    "sslight": {
        "vit": ProbeSettings(features=("cls4",), learning_rates=(0.04,), batch_size=1024),
        "cnn": _SSLIGHT,
    },
    "dino": {
        "vit": ProbeSettings(features=("cls4",), learning_rates=(0.004,), batch_size=1024),
        "cnn": ProbeSettings(learning_rates=(0.004,), batch_size=1024),
    },
    "msn": {
        "cnn": ProbeSettings(
            learning_rates=(6.4,),
            batch_size=16384,
            per_step=True,
            nesterov=True,
            decay_all=False,
            norm="layer_unit",
            note="the publication states 256 images a device and not the number of devices; 64 are assumed",
        ),
    },
}
PROBES["sweep"]["cnn"] = dataclasses.replace(PROBES["sweep"]["vit"], features=("own", "pooled"))


def probe_settings(protocol: str, model: nn.Module) -> ProbeSettings:
    """The settings of a paper for this architecture.

    Raises:
        LowzooError: No such protocol.
    """
    if protocol not in PROBES:
        raise LowzooError(f"there are no linear probes of protocol {protocol!r}", f"Choose of: {', '.join(PROBES)}")
    families = PROBES[protocol]
    return families.get(family_of(model), families["cnn"])


def family_of(model: nn.Module) -> str:
    """`vit`, `resnet`, `mobilenetv3`, or `cnn` for the others."""
    if is_vit(model):
        return "vit"
    name = type(model).__name__.lower()
    return next((family for family in ("resnet", "mobilenetv3") if name == family), "cnn")


def adapted(
    settings: ProbeSettings,
    *,
    features: tuple[str, ...] | None = None,
    learning_rates: tuple[float, ...] | None = None,
    weight_decays: tuple[float, ...] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    augment: bool | None = None,
) -> ProbeSettings:
    """Settings with some values replaced; None keeps the value.

    Probes that would be solved are trained by SGD where a rate, epochs, a batch size or random crops are asked for, and
    where nothing is to decay, as separable images then have no solution.

    Args:
        settings: To start from.
        features: Candidates.
        learning_rates: Candidates, for the batch size that results.
        weight_decays: Candidates.
        epochs: Milestones keep their fraction of the whole.
        batch_size: Rates that are not replaced are scaled in proportion.
        augment: Random crops, or none.

    Raises:
        LowzooError: A rate is not above 0, or a weight decay is below 0.
    """
    if any(rate <= 0 for rate in learning_rates or ()) or any(decay < 0 for decay in weight_decays or ()):
        raise LowzooError("a learning rate must be above 0 and a weight decay at least 0", "Choose others")
    length, batch = epochs or settings.epochs, batch_size or settings.batch_size
    augmentation = settings.augmentation
    if augment is not None:
        augmentation = ("crop" if augmentation == "none" else augmentation) if augment else "none"
    optimizer = settings.optimizer
    trained = learning_rates or epochs or batch_size or augmentation != "none" or 0 in (weight_decays or ())
    if optimizer == "lbfgs" and trained:
        optimizer = "sgd"
    scaled = tuple(rate * batch / settings.batch_size for rate in settings.learning_rates)
    return dataclasses.replace(
        settings,
        features=features or settings.features,
        learning_rates=learning_rates or scaled,
        weight_decays=weight_decays or settings.weight_decays,
        epochs=length,
        milestones=tuple(milestone * length / settings.epochs for milestone in settings.milestones),
        batch_size=batch,
        optimizer=optimizer,
        augmentation=augmentation,
    )
