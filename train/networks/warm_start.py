"""A student that starts from given weights instead of random ones: any MODEL of the student's own architecture."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.io.files import write_text
from lowzoo.train.views import IMAGENET_MEAN, IMAGENET_STD
from lowzoo.zoo.digest import weights_digest
from lowzoo.zoo.find import architecture_of
from lowzoo.zoo.resolve import Resolved, load_model

_FACTS = "init.json"


@dataclass(frozen=True)
class InitFacts:
    """Which weights a student started from.

    Args:
        word: What the user wrote.
        name: What the word meant.
        revision: Which weights exactly, by their source.
        weights: The first 16 hexadecimal digits of the digest of the tensors, at the size of the run.
        license: SPDX identifier, empty if not known.
    """

    word: str
    name: str
    revision: str
    weights: str
    license: str


def check_architecture(init: str, student: str, architecture: str) -> None:
    """Refuse weights of another architecture than the student's.

    Raises:
        LowzooError: It is another one, or the word means nothing.
    """
    found = architecture_of(init)
    if found != architecture:
        raise LowzooError(
            f"--init {init} is a {found}, and the student {student} is a {architecture}",
            f"Leave out --student, or name weights of {architecture}",
        )


def student_of(init: str) -> str:
    """What `--student` would be called for these weights: a short name where there is one."""
    architecture = architecture_of(init)
    short = {timm: name for name, timm in catalog.students().items()}
    return short.get(architecture, architecture)


def load_init(student: nn.Module, init: str, size: int) -> InitFacts:
    """Fill a headless student with the weights that a word means, completely.

    Args:
        student: Made for images of `size` px; position embeddings are resampled to it by the model's own rule.
        init: Any MODEL word.
        size: Side of the global views in pixels.

    Raises:
        LowzooError: Weights that cannot be had, or that do not fit.
    """
    resolved = load_model(init, image_size=size)
    state = _imagenet_normalised(resolved)
    expected = student.state_dict()
    wrong = [key for key, value in expected.items() if key not in state or state[key].shape != value.shape]
    if wrong or state.keys() - expected.keys():
        first = (wrong or sorted(state.keys() - expected.keys()))[0]
        raise LowzooError(f"the weights of --init {init} do not fit the student: {first}", "Name weights that do")
    student.load_state_dict(state)
    digest = weights_digest(resolved.model)[:16]
    return InitFacts(init, resolved.name, resolved.revision, digest, resolved.license)


def _imagenet_normalised(resolved: Resolved) -> dict[str, Tensor]:
    """The state dict of the same network for views, which are normalised as for ImageNet.

    Another normalisation is an affine map of each colour, which the first convolution can do if nothing is padded
    around the image, as in the patches of a ViT.

    Raises:
        LowzooError: It cannot.
    """
    state: dict[str, Tensor] = resolved.model.state_dict()
    if tuple(resolved.mean) == IMAGENET_MEAN and tuple(resolved.std) == IMAGENET_STD:
        return state
    cfg: Any = get_pretrained_cfg(_architecture(resolved))
    name = getattr(cfg, "first_conv", None) if cfg else None
    layer = dict(resolved.model.named_modules()).get(name) if isinstance(name, str) else None
    if not isinstance(layer, nn.Conv2d) or layer.bias is None or any(layer.padding) or layer.groups != 1:
        raise LowzooError(
            f"{resolved.name} was trained with another normalisation than views have, and cannot be brought to it",
            "Name weights of ImageNet's normalisation",
        )
    scale = torch.tensor(IMAGENET_STD, dtype=torch.float64) / torch.tensor(resolved.std, dtype=torch.float64)
    means = (torch.tensor(m, dtype=torch.float64) for m in (IMAGENET_MEAN, resolved.mean))
    ours, theirs = means
    shift = (ours - theirs) / torch.tensor(resolved.std, dtype=torch.float64)
    weight = layer.weight.detach().double()
    bias = layer.bias.detach().double() + (weight * shift.view(1, -1, 1, 1)).sum(dim=(1, 2, 3))
    return {
        **state,
        f"{name}.weight": (weight * scale.view(1, -1, 1, 1)).float(),
        f"{name}.bias": bias.float(),
    }


def _architecture(resolved: Resolved) -> str:
    """Timm's name of a network."""
    cfg: Any = resolved.model.pretrained_cfg
    return str(cfg["architecture"])


def write_init(folder: Path, facts: InitFacts) -> None:
    """Keep which weights a run started from."""
    write_text(folder / _FACTS, json.dumps(asdict(facts), indent=2) + "\n")


def read_init(folder: Path) -> dict[str, Any] | None:
    """Which weights the run in a folder started from; None for random ones."""
    path = folder / _FACTS
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
