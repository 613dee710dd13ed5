"""What `import lowzoo` offers beside timm's own functions."""

import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowzoo import catalog
from lowzoo.base.errors import LowzooError

if TYPE_CHECKING:
    from torch import nn

    from lowzoo.preprocess.input_facts import Side
    from lowzoo.zoo.resolve import Resolved


def create_model(name: str | Path, pretrained: bool | None = None, **kwargs: Any) -> "nn.Module":
    """Create a network as timm does: of the zoo, or with the weights of a folder, a checkpoint or a repository.

    Args:
        name: A zoo name with or without `lowzoo/` and `.tag`, e.g. `rob_vit_tiny`, which gives what
            `timm.create_model("lowzoo/NAME", ...)` gives; or a run or model folder, `hf-hub:ORG/NAME[/FOLDER]`, or
            `ARCH@FILE` for a checkpoint.
        pretrained: Load the weights (the model's default tag if none is named). None leaves a zoo name without, as
            timm does, and loads everything else, which means weights.
        **kwargs: Everything `timm.create_model` takes: `num_classes`, `features_only`, `in_chans`, `img_size`, ...

    Returns:
        The model in float32 and training mode, as timm gives it; without `num_classes` its forward gives features.

    Raises:
        LowzooError: No such model or tag, or weights that are not published or are damaged.
    """
    import timm

    from lowzoo.zoo.given import word_of
    from lowzoo.zoo.resolve import built_by_timm

    word = word_of(name)
    base = word.removeprefix(catalog.PREFIX)
    if word.startswith(catalog.PREFIX) or base.partition(".")[0] in catalog.models() or not _is_place(word):
        model: nn.Module = timm.create_model(f"{catalog.PREFIX}{base}", pretrained=bool(pretrained), **kwargs)
        return model
    if pretrained is False:
        raise LowzooError(
            f"{word} means weights, and pretrained=False asks for none", "Name the architecture by timm.create_model"
        )
    return built_by_timm(word, **kwargs).train()


def _is_place(word: str) -> bool:
    return "/" in word or os.sep in word or "@" in word or ":" in word or Path(word).exists()


def load(
    model: "str | Path | nn.Module",
    *,
    size: "Side | None" = None,
    classes: bool = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    interpolation: str | None = None,
    crop_pct: float | None = None,
    name: str | None = None,
) -> "Resolved":
    """Load a model: its network (`.model`), how to feed it (`.transform`), and what it is (`.name`, `.revision`, ...).

    Args:
        model: A zoo name, `hf-hub:ORG/NAME[/FOLDER][@REVISION]`, a run or model folder, a timm name, or
            `ARCH@FILE[#BRANCH]` for a checkpoint, as every command takes it; or a network that you built, of which a
            copy is taken.
        size: Side of the input in pixels, or (height, width); the weights' own if None.
        classes: Keep the classifier that the weights come with. A network that you built is taken as it is.
        mean: Mean of the normalisation, for a network that you built and that has no `pretrained_cfg` of timm.
        std: As `mean`.
        interpolation: Filter of the resize, for such a network.
        crop_pct: Side of the centre crop by the side after resizing, for such a network.
        name: What messages and files call a network that you built.

    Raises:
        LowzooError: Unknown word, weights that cannot be had, or an impossible size; a network that nothing says how
            to feed.
    """
    if isinstance(model, (str, Path)):
        from lowzoo.checkpoints.early import refuse_early

        refuse_early(str(model))
        from lowzoo.zoo.given import resolved_model

        own = {"mean": mean, "std": std, "interpolation": interpolation, "crop_pct": crop_pct, "name": name}
        for argument, value in own.items():
            if value is not None:
                raise LowzooError(f"{argument} is for a network that you built, not for {model}", "Leave it out")
        return resolved_model(model, image_size=size, classes=classes)
    from lowzoo.zoo.own_module import resolved_module

    return resolved_module(
        model, name=name, size=size, mean=mean, std=std, interpolation=interpolation, crop_pct=crop_pct
    )


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
