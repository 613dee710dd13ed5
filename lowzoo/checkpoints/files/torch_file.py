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

from lowzoo.base.errors import LowzooError
from lowzoo.checkpoints.files.content import StandIn, module_tensors, shape_text
from lowzoo.checkpoints.files.harmless import PLAIN, could_run_code, is_harmless

# Two harmless classes that published files hold beside their tensors: command-line arguments (DINO, iBOT), and the
# configuration of SSLight, which is a dictionary by another name and needs no fvcore.
_ALLOWED = (argparse.Namespace, (OrderedDict, "fvcore.common.config.CfgNode"))
_MOST_CLASSES = 500


def read_torch_file(path: Path) -> dict[str, Any]:
    """The dictionary in a torch file, read with `weights_only=True`; tensors are mapped from the file where it can be.

    Objects of other classes than torch's own come as `StandIn`. A whole module, which some save instead of its tensors,
    comes as the dictionary of its tensors below `model`.

    Raises:
        LowzooError: Not a torch file, cut short, or it would run code.
    """
    content = _read(path)
    if isinstance(content, StandIn) and (state := module_tensors(content)) is not None:
        return {"model": state}
    if not isinstance(content, dict):
        raise LowzooError(f"{path} holds no dictionary of tensors", "Name a checkpoint")
    return content


def _read(path: Path) -> Any:
    """What a file holds; each class that is not torch's own is stood in for as it is met."""
    others: dict[str, Any] = {}
    for _ in range(_MOST_CLASSES):
        allowed: list[Any] = [*_ALLOWED, *((stand_in, name) for name, stand_in in others.items())]
        try:
            with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
                warnings.simplefilter("ignore", UserWarning)  # of pickles that are refused anyway
                # The older form, which is no zip archive, cannot be mapped. Full checkpoints also hold optimisers:
                # mapped, only the branch that is wanted is ever read.
                return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except Exception as error:  # whatever the reader raises on a file that is not what it should be
            if not _stand_in(error, others, path):
                text = " ".join(str(error).split())
                if "persistent_load" in text:
                    raise LowzooError(
                        f"{path} holds a whole module with its source code, in torch's older form; it was not loaded",
                        "Where it can be trusted, save its state dict alone",
                    ) from error
                reason = text[:100] if " " in text else type(error).__name__  # a lone number or name says nothing
                raise LowzooError(
                    f"{path} cannot be read as a torch checkpoint, or it is cut short ({reason})", "Get the file again"
                ) from error
    raise LowzooError(f"{path} names over {_MOST_CLASSES} classes and is no checkpoint", "Name a checkpoint")


def _stand_in(error: Exception, others: dict[str, Any], path: Path) -> bool:
    """Add what stands in for the class that stopped the reader; False where it was something else.

    Raises:
        LowzooError: The file calls what could run code.
    """
    text = " ".join(str(error).split())
    if found := re.search(r"GLOBAL ([\w.]+)", text):
        name = found[1].removeprefix("__builtin__.")
        if not is_harmless(name) or "blocked" in text or name in others:
            raise could_run_code(path, name) from error
        key = name if "." in name else f"builtins.{name}"
        others[key] = PLAIN.get(name) or type("StandIn", (StandIn,), {"__module__": name})
        return True
    # A dictionary or a list by another name is filled item by item, which the reader does with the plain ones alone.
    if found := re.search(r"Can only (SETITEMS?|append|extend) .* got <class '([\w.]+)\.StandIn'>", text):
        name = found[2]
        if isinstance(others.get(name), type) and issubclass(others[name], StandIn):
            others[name] = OrderedDict if found[1].startswith("SETITEM") else list
            return True
    return False


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
            f"{path} does not fit {what}: {key} is {shape_text(complete[key].shape)} there, "
            f"{shape_text(expected[key].shape)} expected",
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
