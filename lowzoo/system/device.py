"""Which device a word on the command line means."""

import torch

from lowzoo.base.errors import LowzooError, reason_of


def pick_device(word: str) -> torch.device:
    """Give the device of that name; "auto" is a GPU if there is one.

    Raises:
        LowzooError: No such device here.
    """
    if word == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(word)
        torch.zeros(1, device=device)
    # Backends that are not built in raise AssertionError, NotImplementedError or an ImportError of their plug-in.
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = reason_of(error)
        raise LowzooError(f"device {word!r} cannot be used ({reason})", "Use --device cpu") from error
    if device.type == "meta":
        raise LowzooError("device 'meta' computes nothing", "Use --device cpu")
    return device


def cpu_multiplies_bf16() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 in hardware (AMX), and torch asks it to."""
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return has_amx is not None and torch.backends.mkldnn.is_available() and bool(has_amx())
