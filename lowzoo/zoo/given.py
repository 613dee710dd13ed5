"""What functions of the package are given as a model: a word, a path, a loaded model, or a network of one's own."""

import os
from pathlib import Path

from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.preprocess.input_facts import Side, both_sides, size_text
from lowzoo.zoo.own_module import resolved_module
from lowzoo.zoo.resolve import Resolved, load_model


def resolved_model(
    model: "str | Path | nn.Module | Resolved",
    *,
    image_size: Side | None = None,
    pretrained: bool = True,
    seed: int = 0,
    classes: bool = False,
) -> Resolved:
    """What a function of the package was given as a model, ready for use.

    Args:
        model: A MODEL word, the path of a folder or a checkpoint, what `load_model` gave, or a network that a program
            built.
        image_size: As for `load_model`.
        pretrained: As for `load_model`.
        seed: As for `load_model`.
        classes: As for `load_model`.

    Raises:
        LowzooError: As `load_model`; or a network that is loaded, and an option that only loading knows.
    """
    if isinstance(model, (str, Path)):
        return load_model(word_of(model), image_size=image_size, pretrained=pretrained, seed=seed, classes=classes)
    if not pretrained:
        raise LowzooError("the weights of a network that is loaded cannot be left random", "Name the model")
    if isinstance(model, nn.Module):
        return resolved_module(model, size=image_size)
    if image_size is not None and both_sides(image_size) != model.input_size[1:]:
        raise LowzooError(
            f"{model.name} was loaded for {size_text(model.input_size[1:])} px, not {size_text(image_size)} px",
            "Load it at that size",
        )
    return model


def word_of(model: str | Path) -> str:
    """The MODEL word for a path: one that is not taken for a model of that name."""
    if isinstance(model, Path) and not model.is_absolute() and len(model.parts) < 2:
        return f".{os.sep}{model}"
    return str(model)
