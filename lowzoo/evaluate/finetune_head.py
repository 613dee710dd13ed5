"""The classifier of fine-tuning: a linear layer, or SSLight's MLP whose first layers come from the projection head."""

import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lowzoo.errors import LowzooError

_HIDDEN, _LAYERS = 2048, 2
_LINEAR = re.compile(r"mlp\.(\d+)\.weight")


def linear_head(in_dim: int, classes: int) -> nn.Module:
    """One linear layer, weights N(0, 0.01)."""
    layer = nn.Linear(in_dim, classes)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer


def mlp_head(in_dim: int, classes: int, projection: Path | None) -> nn.Module:
    """Linear, batch norm, GELU, twice, and a linear layer.

    Args:
        in_dim: Width of the features.
        classes: Outputs.
        projection: safetensors of a projection head, as a run folder holds it; its hidden layers, up to two, are the
            first ones here. None starts all at random with a width of 2048.

    Raises:
        LowzooError: The file holds no MLP, or one for features of another width.
    """
    hidden = _hidden_layers(projection, in_dim) if projection else []
    width = in_dim
    modules: list[nn.Module] = []
    for at in range(_LAYERS):
        known, known_norm = hidden[at] if at < len(hidden) else ({}, {})
        out = len(known["weight"]) if known else _HIDDEN
        layer, norm = nn.Linear(width, out), nn.BatchNorm1d(out)
        nn.init.trunc_normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
        layer.load_state_dict(layer.state_dict() | known)
        norm.load_state_dict(norm.state_dict() | known_norm)
        modules += [layer, norm, nn.GELU()]
        width = out
    return nn.Sequential(*modules, linear_head(width, classes))


def _hidden_layers(file: Path, in_dim: int) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """The tensors of each linear layer but the last one, and of the batch norm behind it if there is one."""
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise LowzooError(f"{file} is no projection head: {error}", "Name head.safetensors of a run folder") from error
    layers = sorted(int(match[1]) for key in tensors if (match := _LINEAR.fullmatch(key)) and tensors[key].ndim == 2)
    if len(layers) < 2:
        raise LowzooError(f"{file} holds no MLP with hidden layers", "Name the head of a run of DINO, iBOT or SSLight")
    if tensors[f"mlp.{layers[0]}.weight"].shape[1] != in_dim:
        raise LowzooError(
            f"{file} is for features of width {tensors[f'mlp.{layers[0]}.weight'].shape[1]}, not {in_dim}",
            "Name the head that was trained with this network",
        )
    return [_layer(tensors, number) for number in layers[:-1][:_LAYERS]]


def _layer(tensors: Mapping[str, Tensor], number: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    linear, norm = f"mlp.{number}.", f"mlp.{number + 1}."
    known = {key.removeprefix(linear): value.float() for key, value in tensors.items() if key.startswith(linear)}
    if f"{norm}running_mean" not in tensors:
        return known, {}
    return known, {key.removeprefix(norm): value for key, value in tensors.items() if key.startswith(norm)}
