"""Reading other people's torch files: nothing in them is run, tensors are taken by name, and all of them or none."""

import argparse
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lowzoo.errors import LowzooError

# Two harmless classes that published files hold beside their tensors: command-line arguments (DINO, iBOT), and the
# configuration of SSLight, which is a dictionary by another name and needs no fvcore.
_ALLOWED = (argparse.Namespace, (OrderedDict, "fvcore.common.config.CfgNode"))


def read_torch_file(path: Path) -> dict[str, Any]:
    """The dictionary in a torch file, read with `weights_only=True`; tensors are mapped from the file where it can be.

    Raises:
        LowzooError: Not a torch file, cut short, or it would run code.
    """
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([*_ALLOWED]):
            warnings.simplefilter("ignore", UserWarning)  # of pickles that are refused anyway
            # The older form, which is no zip archive, cannot be mapped. Full checkpoints also hold optimisers: mapped,
            # only the branch that is wanted is ever read.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # whatever the reader raises on a file that is not what it should be
        text = " ".join(str(error).split())
        if found := re.search(r"GLOBAL ([\w.]+)", text):
            raise LowzooError(
                f"{path} holds more than tensors ({found[1]}) and could run code; it was not loaded",
                "Get the file from its publisher",
            ) from error
        reason = text[:100] if " " in text else type(error).__name__  # a lone number or name says nothing
        raise LowzooError(
            f"{path} cannot be read as a torch checkpoint, or it is cut short ({reason})",
            "Get the file again",
        ) from error
    if not isinstance(content, dict):
        raise LowzooError(f"{path} holds no dictionary of tensors", "Name a checkpoint")
    return content


def without_module(state: Mapping[str, Any]) -> dict[str, Any]:
    """The same without the `module.` that data-parallel training writes before every key, however often."""
    return {re.sub(r"^(module\.)+", "", key): value for key, value in state.items()}


def under(state: Mapping[str, Tensor], prefix: str, rename: str = "") -> dict[str, Tensor]:
    """What stands under `prefix`, which is replaced by `rename`."""
    return {rename + key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Load by name and strictly: every tensor of the module is found, and every one of `state` is used.

    Counters of batches, which matter to no result, may be missing.

    Raises:
        LowzooError: It does not fit; one sentence where torch prints pages.
    """
    expected = module.state_dict()
    counters = {key: value for key, value in expected.items() if key.endswith(".num_batches_tracked")}
    complete = {**counters, **state}
    wrong = [key for key, value in complete.items() if key in expected and value.shape != expected[key].shape]
    if wrong:
        key = wrong[0]
        raise LowzooError(
            f"{path} does not fit {what}: {key} is {_shape(complete[key])} there, {_shape(expected[key])} expected",
            "Name the right file",
        )
    try:
        module.load_state_dict(complete, strict=True)
    except RuntimeError as error:
        missing, extra = sorted(expected.keys() - complete.keys()), sorted(complete.keys() - expected.keys())
        detail = "; ".join(
            f"{len(keys)} {kind} (first {keys[0]})"
            for kind, keys in (("missing", missing), ("left over", extra))
            if keys
        )
        raise LowzooError(f"{path} does not fit {what}: {detail or error}", "Name the right file") from error


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
