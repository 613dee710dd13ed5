"""A linear probe behind a headless network: the classifier that a phone wants.

FILE is a safetensors file with `weight` (C, D) and, if there is one, `bias` (C,); the classes are a text file, one name
a line, in the order of the rows.
"""

import dataclasses
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lowzoo.errors import LowzooError
from lowzoo.resolve import Resolved
from lowzoo.text_file import distinct, read_lines


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
    """Read weight (C, D) and bias (C,).

    Raises:
        LowzooError: No such file, or other tensors in it.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise LowzooError(f"{path} cannot be read as a head", "Name a safetensors file") from error
    weight = tensors.get("weight")
    if weight is None or weight.ndim != 2:
        found = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise LowzooError(
            f"{path} holds no `weight` (classes, features), but {found}", "Name the file of a linear probe"
        )
    bias = tensors.get("bias", torch.zeros(len(weight)))
    if bias.shape != weight.shape[:1]:
        raise LowzooError(f"the `bias` of {path} has shape {tuple(bias.shape)}", "Name the file of a linear probe")
    return weight.float(), bias.float()


def with_head(resolved: Resolved, weight_CD: Tensor, bias_C: Tensor, classes: tuple[str, ...]) -> Resolved:
    """Put the classifier behind the network, whose features become logits (B, C).

    Raises:
        LowzooError: The head is for another number of features or of classes.
    """
    if len(weight_CD) != len(classes):
        raise LowzooError(
            f"the head has {len(weight_CD)} classes, the list names {len(classes)}", "Name the list of its training"
        )
    with torch.inference_mode():
        features = resolved.model(torch.zeros(1, *resolved.input_size)).shape[1]
    if weight_CD.shape[1] != features:
        raise LowzooError(
            f"the head takes {weight_CD.shape[1]} features, {resolved.name} gives {features}",
            "Name the head that was trained on this model",
        )
    linear = nn.Linear(features, len(classes))
    with torch.no_grad():
        linear.weight.copy_(weight_CD)
        linear.bias.copy_(bias_C)
    return dataclasses.replace(resolved, model=nn.Sequential(resolved.model, linear).eval())
