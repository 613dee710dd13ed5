"""Features on disk: a protocol that runs twice on the same network and images reads what the first run computed.

Features (N, D) are found by a key over everything that decides them; a file that cannot be read counts as absent.
"""

import contextlib
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lowzoo.data.cache import cache_folder
from lowzoo.errors import LowzooError
from lowzoo.evaluate.preprocess import Preprocessing
from lowzoo.files import atomic_path

_LAYOUT = "1"  # changes when a change of this package changes the features


def cache_path(model: nn.Module, spec: Preprocessing, fingerprint: str, device: str | torch.device) -> Path:
    """Name the file for these features.

    The key holds the weights and, as equal weights may sit in different networks (another pooling, another
    activation), what the network makes of one fixed input.

    Args:
        model: (B, 3, H, W) to (B, D), in eval mode, on `device`.
        spec: The preprocessing.
        fingerprint: Of the images.
        device: Where the features are computed.
    """
    digest = sha256(f"{_LAYOUT} {spec} {fingerprint} {torch.device(device).type}".encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    probe = torch.linspace(-2, 2, 3 * spec.input_size[1] * spec.input_size[2], device=device)
    with torch.inference_mode():
        digest.update(model(probe.view(1, *spec.input_size)).float().cpu().numpy().tobytes())
    return cache_folder("features") / f"{digest.hexdigest()[:32]}.safetensors"


def read(path: Path) -> tuple[Tensor, Tensor] | None:
    """Read the features (N, D) and the indices (N,) of the images they belong to; None if that fails."""
    try:
        with safe_open(path, framework="pt") as file:
            x, kept = file.get_tensor("x"), file.get_tensor("kept")
    except (SafetensorError, OSError):
        return None
    return (x, kept) if x.ndim == 2 and len(x) == len(kept) else None


def write(path: Path, x: Tensor, kept: Tensor) -> None:
    """Keep the features; a cache that cannot be written to costs time later but is no error."""
    with contextlib.suppress(LowzooError), atomic_path(path) as temporary:
        save_file({"x": x, "kept": kept}, temporary)
