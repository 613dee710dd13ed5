"""What identifies a network's weights."""

from hashlib import sha256

import torch
from torch import nn


def weights_digest(model: nn.Module) -> str:
    """Identify a network's tensors by name, type, shape and content: 64 hexadecimal digits."""
    digest = sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
