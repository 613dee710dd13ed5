"""A linear probe behind a headless network: the classifier that a phone wants.

FILE is a safetensors file with `weight` (C, D) and, if there is one, `bias` (C,), under whatever name the layer had
(`head.weight`, `fc.weight`, ...); the classes are a text file, one name a line, in the order of the rows. `own` is the
classifier that the weights of the network come with.
"""

import dataclasses
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lowzoo.base.errors import LowzooError
from lowzoo.io.text_file import distinct, read_lines
from lowzoo.zoo.resolve import Resolved

OWN = "own"


def read_classes(path: Path) -> tuple[str, ...]:
    """Read the names of the classes.

    Raises:
        LowzooError: No such text file, a name that stands twice, or fewer than two names.
    """
    lines = read_lines(path, "a list of classes", "Name a text file, one class a line")
    names = distinct(lines, str(path), "Give each class a name of its own")
    if len(names) < 2:
        raise LowzooError(
            f"{path} holds {len(names)} class names, and a classifier has two or more", "Write one a line"
        )
    return names


def read_head(path: Path) -> tuple[Tensor, Tensor]:
    """Read weight (C, D) and bias (C,), under any common name.

    Raises:
        LowzooError: No such file, more than one layer in it, or numbers that are none.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise LowzooError(f"{path} cannot be read as a head", "Name a safetensors file") from error
    found = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in list(tensors.items())[:4])
    found += f" and {len(tensors) - 4} more" if len(tensors) > 4 else ""
    weights = [name for name in tensors if name == "weight" or name.endswith(".weight")]
    name = weights[0] if len(weights) == 1 else ""
    bias_name = f"{name.removesuffix('weight')}bias"
    if not name or set(tensors) - {name, bias_name}:
        remedy = "Name the file of a linear probe"
        if len(weights) > 1:
            remedy += "; a classifier inside a whole model is kept by naming that model's folder with --head own"
        raise LowzooError(f"{path} holds no `weight` (classes, features) with its `bias` alone, but {found}", remedy)
    weight = tensors[name]
    if weight.ndim == 4 and weight.shape[2:] == (1, 1):  # a convolution over one pixel is a linear layer
        weight = weight.flatten(1)
    if weight.ndim != 2:
        raise LowzooError(
            f"{path} holds no `weight` (classes, features), but {found}", "Name the file of a linear probe"
        )
    bias = tensors.get(bias_name, torch.zeros(len(weight)))
    if bias.shape != weight.shape[:1]:
        raise LowzooError(f"the `bias` of {path} has shape {tuple(bias.shape)}", "Name the file of a linear probe")
    if not (torch.isfinite(weight.float()).all() and torch.isfinite(bias.float()).all()):
        raise LowzooError(f"{path} holds numbers that are not finite", "Train the probe again")
    return weight.float(), bias.float()


def own_classes(resolved: Resolved, named: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Names of the classes of a network's own classifier, and a warning where nobody names them.

    Args:
        resolved: With its classifier.
        named: By the user; empty if not.

    Raises:
        LowzooError: It has none, or another number of classes.
    """
    if not resolved.classes or resolved.headless:
        raise LowzooError(
            f"{resolved.name} comes without a classifier of its own", "Name the file of a linear probe by --head FILE"
        )
    if named and len(named) != resolved.classes:
        raise LowzooError(
            f"the classifier of {resolved.name} has {resolved.classes} classes, the list names {len(named)}",
            "Name the list of its training",
        )
    if named or resolved.class_names:
        return named or resolved.class_names, ""
    numbers = tuple(str(number) for number in range(resolved.classes))
    return numbers, (
        f"{resolved.name} does not name its {resolved.classes} classes, so they are called 0 to "
        f"{resolved.classes - 1}; name them by --classes FILE"
    )


def attach(resolved: Resolved, weight_CD: Tensor, bias_C: Tensor, source: Path | None = None) -> Resolved:
    """Put a linear classifier behind the network, whose features (B, D) become logits (B, C).

    Args:
        resolved: The network, without a classifier.
        weight_CD: Weight of the classifier.
        bias_C: Bias of the classifier.
        source: Where they were read from.

    Raises:
        LowzooError: The head is for another number of features.
    """
    with torch.inference_mode():
        features = resolved.model(torch.zeros(1, *resolved.input_size)).shape[1]
    if weight_CD.shape[1] != features:
        raise LowzooError(
            f"the head takes {weight_CD.shape[1]} features, {resolved.name} gives {features}",
            "Name the head that was trained on this model",
        )
    linear = nn.Linear(features, len(weight_CD))
    with torch.no_grad():
        linear.weight.copy_(weight_CD)
        linear.bias.copy_(bias_C)
    model = nn.Sequential(resolved.model, linear).eval()
    return dataclasses.replace(resolved, model=model, head=str(source.resolve()) if source else "")


def with_head(
    resolved: Resolved, weight_CD: Tensor, bias_C: Tensor, classes: tuple[str, ...], source: Path | None = None
) -> Resolved:
    """As `attach`, with the names of the classes.

    Raises:
        LowzooError: The head is for another number of features or of classes.
    """
    if len(weight_CD) != len(classes):
        raise LowzooError(
            f"the head has {len(weight_CD)} classes, the list names {len(classes)}", "Name the list of its training"
        )
    return attach(resolved, weight_CD, bias_C, source)
