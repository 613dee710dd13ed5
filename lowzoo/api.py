"""What `import lowzoo` offers beside timm's own functions."""

import fnmatch
from typing import TYPE_CHECKING, Any

from lowzoo import catalog

if TYPE_CHECKING:
    from torch import nn

    from lowzoo.input_facts import Side
    from lowzoo.resolve import Resolved


def create_model(name: str, pretrained: bool = False, **kwargs: Any) -> "nn.Module":
    """Create a model of the zoo; the same as `timm.create_model("lowzoo/NAME", ...)`.

    Args:
        name: A zoo name with or without `lowzoo/` and `.tag`, e.g. `rob_vit_tiny`.
        pretrained: Load the weights of the tag (the model's default tag if none is named).
        **kwargs: Everything `timm.create_model` takes: `num_classes`, `features_only`, `in_chans`, `img_size`, ...

    Returns:
        The model in float32 and training mode, as timm gives it; without `num_classes` its forward gives features.

    Raises:
        LowzooError: No such model or tag, or weights that are not published or are damaged.
    """
    import timm

    model: nn.Module = timm.create_model(f"lowzoo/{name.removeprefix('lowzoo/')}", pretrained=pretrained, **kwargs)
    return model


def load(model: str, *, size: "Side | None" = None, classes: bool = False) -> "Resolved":
    """Load what a MODEL word means, as every command does: a network with its weights, and how to feed it.

    Args:
        model: A zoo name, `hf-hub:ORG/NAME[/FOLDER][@REVISION]`, a run or model folder, a timm name, or
            `ARCH@FILE[#BRANCH]` for a checkpoint.
        size: Side of the input in pixels, or (height, width); the weights' own if None.
        classes: Keep the classifier that the weights come with.

    Raises:
        LowzooError: Unknown word, weights that cannot be had, or an impossible size.
    """
    from lowzoo.early import refuse_early

    refuse_early(model)
    from lowzoo.resolve import load_model

    return load_model(model, image_size=size, classes=classes)


def list_models(filter: str = "*", *, pretrained: bool = False) -> list[str]:
    """Names `model.tag` of the zoo that match a wildcard, in the catalog's order.

    Args:
        filter: As in `fnmatch`, against the model's name or against `model.tag`, e.g. `rob_*`.
        pretrained: Only those whose weights can be loaded.
    """
    return [
        f"{entry.name}.{weights.tag}"
        for entry in catalog.models().values()
        for weights in entry.weights
        if (not pretrained or weights.available)
        and (fnmatch.fnmatch(entry.name, filter) or fnmatch.fnmatch(f"{entry.name}.{weights.tag}", filter))
    ]


def model_info(name: str) -> dict[str, Any]:
    """Everything the catalog knows of a model and of one set of its weights, as plain data.

    Args:
        name: As for `create_model`; without a tag the default one is described.

    Raises:
        LowzooError: No such model or tag.
    """
    return catalog.describe(name)
